// Callbacks: the start bar, the list that stays up to date, and one callback.
import { send, wordsFor } from "../api.js";
import { start as startForm } from "../call_form.js";
import { CallbackList } from "../list.js";
import { busily, byId, say } from "../ui.js";

// Lines of the alert strip that have money again.
function followAlerts(root, list) {
  root.querySelector("[data-alerts]")?.addEventListener("click", (event) => {
    const button = event.target.closest("[data-resume]");
    if (button) busily(button, () => resume(button, list));
  });
}

async function resume(button, list) {
  const alert = button.closest("[data-stopped]");
  try {
    await send(`/lines/${encodeURIComponent(button.dataset.resume)}/resume`, { method: "POST" });
    alert.remove();
    await list.lookNow();
  } catch (error) {
    say(alert.querySelector("p"), wordsFor(error));
  }
}

// The whole desk's list, or that of a customer's card; returns what ends it.
export function startList(root) {
  const list = new CallbackList(byId("callbacks"));
  // Whoever may only look has no form.
  if (byId("call-form")) startForm(root, list);
  followAlerts(root, list);
  list.follow();
  return () => list.end();
}

// One callback in a view of its own: fetched anew as the list is, and written anew only where it changed.
class OneCallback extends CallbackList {
  constructor(view) {
    super(byId("callbacks"));
    this.view = view;
  }

  async poll() {
    const fresh = (await this.view.fragment()).querySelector("#callbacks");
    say(this.connection, "", "warning");
    const [old] = this.rows;
    const row = fresh.querySelector(".callback");
    this.waitLonger();
    if (row.dataset.version === old.dataset.version) return;
    this.announce(row, old);
    this.list.replaceChildren(...fresh.childNodes);
  }
}

export function show(view) {
  if (view.path === "callbacks") return startList(view.root);
  const one = new OneCallback(view);
  one.follow();
  return () => one.end();
}
