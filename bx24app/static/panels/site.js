// The line for a website, and the message for whoever puts it there. Until the button was seen on the website the panel waits
// for it, as long as somebody looks.
import { Problem, send } from "../api.js";

const EVERY = 5000;
const MOST = 360;

export function start(panel) {
  panel.onClick({});
  const waits = panel.find("[data-waits]");
  if (!waits) return;
  const { key } = panel.root.dataset;
  let left = MOST;

  async function look() {
    if (document.hidden || !waits.checkVisibility()) return true;
    left -= 1;
    const { seen_at: seen } = await send(`/forms/${key}`);
    if (!seen) return left > 0;
    const fresh = await panel.view.fragment();
    waits.replaceWith(fresh.querySelector('[data-panel="site"] [data-seen]'));
    return false;
  }

  async function wait() {
    if (!waits.isConnected) return;
    // A lost connection is no end: the next look may find it.
    const goesOn = await look().catch((error) => error instanceof TypeError || !(error instanceof Problem));
    if (goesOn) setTimeout(wait, EVERY);
  }

  setTimeout(wait, EVERY);
}
