// Website forms: making one with a press, its snippet, its settings, switching and removing it.
import { send } from "../api.js";
import { toggle } from "../ui.js";
import { chooser, submitted } from "./fields.js";
import * as hours from "./hours.js";

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

  async function edit(button) {
    const place = turn(button, "[data-editor]");
    if (place.hidden) return place.replaceChildren();
    place.replaceChildren(await panel.fragment(`forms/${keyOf(button)}`));
    place.querySelectorAll("[data-chooser]").forEach(chooser);
    hours.start(place.querySelector("[data-hours]"));
    return place.querySelector("input").focus();
  }

  async function save(form) {
    const [key, words] = [form.dataset.key, form.dataset.saved];
    const more = { hours: hours.read(form.querySelector("[data-hours]")) };
    if (!(await submitted(form, (json) => send(`/forms/${key}`, { method: "PATCH", json }), more))) return;
    await panel.load();
    panel.find(`#form-${key} [data-action="edit"]`).focus();
    panel.say(words, "success");
  }

  panel.onSubmit({ create, save });
  panel.onClick({
    edit,
    snippet: (button) => turn(button, "[data-snippet]").querySelector("button")?.focus(),
    close: (button) => edit(itemOf(button).querySelector('[data-action="edit"]')),
    stop: (button) => panel.change("/settings", { method: "PATCH", json: { websites_off: button.dataset.off !== "false" } }),
    switch: (button) => panel.change(path(button), { method: "PATCH", json: { is_on: button.dataset.on !== "true" } }),
    remove: (button) => panel.change(path(button), { method: "DELETE" }),
  });
}
