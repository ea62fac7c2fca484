// Callbacks: the alerts, the start bar and the list that stays up to date.
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

// The whole desk's list, or that of a customer's card; `around`: the view, or what opens a callback elsewhere.
export function startList(root, around) {
  const list = new CallbackList(byId("callbacks"), around);
  // Whoever may only look has no form.
  const form = byId("call-form") && startForm(root, list);
  followAlerts(root, list);
  list.follow();
  const card = root.querySelector("[data-first-run]");
  // After everything else: the desk below it is usable at once.
  const run = card && new Promise((resolve) => { setTimeout(resolve); })
    .then(() => import("../first_run.js"))
    .then(({ startFirstRun }) => startFirstRun(card, form, list));
  return () => {
    list.end();
    run?.then((started) => started.end());
  };
}

export async function fetchScripts(content) {
  if (content.querySelector(".one-callback")) await import("../one_callback.js");
  else if (content.querySelector("[data-panel]")) await (await import("../panels.js")).fetchScripts(content);
}

export async function show(view) {
  if (view.path === "callbacks") {
    const end = startList(view.root, { view });
    // Whoever comes back from a callback goes on at its row.
    const [, id] = view.from.split("/");
    if (id) byId(`callback-${id}`)?.querySelector("a.name").focus();
    return end;
  }
  if (view.path === "callbacks/notifications") {
    const { openPanels } = await import("../panels.js");
    return openPanels(view);
  }
  const { showCallback } = await import("../one_callback.js");
  return showCallback(view);
}
