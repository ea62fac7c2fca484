// Dialogs and pages of the portal that are opened from here, fetched with what opens them.
import { ask, portal, send } from "./frame.js";

// The longest that a timer can wait.
const FOREVER = 2 ** 31 - 1;

// The portal's dialog to choose employees; whoever closes it chooses nobody, and the portal says nothing.
export async function selectUsers(use) {
  const chosen = await ask("selectUser", { mult: true }, FOREVER);
  if (Array.isArray(chosen)) use(chosen);
}

// A page of the portal, such as a card, beside this one; the answer comes when it is closed. False: it cannot be opened
// here, or there is no portal around.
export async function openPath(path) {
  const closed = await ask("openPath", { path }, FOREVER);
  return closed?.result === "close";
}

// The whole desk in a slider; `link` chooses its view.
export function openDesk(link) {
  if (portal().isInside) send("openApplication", { ...link, bx24_width: 1200 });
}
