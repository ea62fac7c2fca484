// Website forms: making one with a press, its snippet, switching and removing it.
import { send } from "../api.js";
import { toggle } from "../ui.js";
import { submitted } from "./fields.js";

export function start(panel) {
  const itemOf = (element) => element.closest("[data-key].item");
  const keyOf = (element) => itemOf(element).dataset.key;
  const path = (element) => `/forms/${keyOf(element)}`;

  // The part of its form that a button opens or closes; it may be hidden now.
  function turn(button, selector) {
    const part = itemOf(button).querySelector(selector);
    toggle(button, part);
    return part;
  }

  async function create(form) {
    const [button, origin] = [form.querySelector("[type=submit]"), form.querySelector("[type=url]").value.trim()];
    const json = { name: button.dataset.name, line_id: form.querySelector("select").value, allowed_origins: origin ? [origin] : [] };
    const country = form.querySelector("#new-country")?.value;
    const made = await submitted(form, async () => {
      // The country is the portal's: whoever calls from a CRM card writes numbers as people do there, too.
      if (country) await send("/settings", { method: "PATCH", json: { default_country: country } });
      return send("/forms", { method: "POST", json });
    });
    if (!made) return;
    await panel.load();
    const item = panel.find(`#form-${made.key}`);
    const opened = turn(item.querySelector('[data-action="snippet"]'), "[data-snippet]");
    panel.say(panel.find(".items").dataset.created, "success");
    opened.querySelector("button").focus();
  }

  panel.onSubmit({ create });
  panel.onClick({
    snippet: (button) => turn(button, "[data-snippet]").querySelector("button")?.focus(),
    stop: (button) => panel.change("/settings", { method: "PATCH", json: { websites_off: button.dataset.off !== "false" } }),
    switch: (button) => panel.change(path(button), { method: "PATCH", json: { is_on: button.dataset.on !== "true" } }),
    remove: (button) => panel.change(path(button), { method: "DELETE" }),
  });
}
