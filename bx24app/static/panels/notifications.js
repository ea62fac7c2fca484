// Who is told of which event: the usual people, chosen ones, or nobody; and the reader's own switch.
import { startSettings } from "../settings_form.js";
import { chooser, values } from "./fields.js";
import { startMute } from "./my_notifications.js";

// Numbers of people, in an order that does not matter.
function read(form) {
  const { notifications } = values(form);
  const events = Object.entries(notifications).map(([name, { to, people }]) => {
    const chosen = to === "people" ? people.map(Number).sort((one, other) => one - other) : [];
    return [name, { to, people: chosen }];
  });
  return { notifications: Object.fromEntries(events) };
}

function begin(form) {
  for (const event of form.querySelectorAll("[data-event]")) {
    const [select, chosen] = [event.querySelector("select"), event.querySelector("[data-chosen]")];
    chooser(event.querySelector("[data-chooser]"));
    select.addEventListener("change", () => { chosen.hidden = select.value !== "people"; });
    // A person who is added or taken away is a change too.
    new MutationObserver(() => form.dispatchEvent(new Event("change"))).observe(chosen.querySelector("ul"), { childList: true });
  }
}

export function start(panel) {
  startSettings(panel, { begin, read });
  startMute(panel);
}
