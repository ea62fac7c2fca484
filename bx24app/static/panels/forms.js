// Website forms: making one with a press, its snippet, switching and removing it.
import { createForm } from "../new_form.js";
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

  // The country is asked only where neither the portal, nor the line's number, nor the company's zone tells it.
  function askCountry() {
    const [line, unknown] = [panel.find("#new-line"), panel.find("[data-unknown-country]")];
    if (unknown) unknown.hidden = Boolean(line.selectedOptions[0]?.dataset.country);
  }

  async function create(form) {
    const [asked, line] = [panel.find("[data-unknown-country]"), form.querySelector("#new-line")];
    const made = await submitted(form, () => createForm({
      settings: JSON.parse(form.dataset.settings),
      name: form.querySelector("[type=submit]").dataset.name,
      origin: form.querySelector("[type=url]").value.trim(),
      line: line.value,
      country: line.selectedOptions[0]?.dataset.country,
      chosen: asked && !asked.hidden ? asked.querySelector("select").value : "",
    }));
    if (!made) return;
    await panel.load();
    const item = panel.find(`#form-${made.key}`);
    const opened = turn(item.querySelector('[data-action="snippet"]'), "[data-snippet]");
    panel.say(panel.find(".items").dataset.created, "success");
    opened.querySelector("button").focus();
  }

  panel.onSubmit({ create });
  panel.body.addEventListener("change", ({ target }) => { if (target.id === "new-line") askCountry(); });
  askCountry();
  panel.onClick({
    snippet: (button) => turn(button, "[data-snippet]").querySelector("button")?.focus(),
    stop: (button) => panel.change("/settings", { method: "PATCH", json: { websites_off: button.dataset.off !== "false" } }),
    async switch(button) {
      const [key, isOn] = [keyOf(button), itemOf(button).querySelector("[role=switch]").ariaChecked === "true"];
      await panel.change(path(button), { method: "PATCH", json: { is_on: !isOn } });
      panel.find(`#form-${key} [role=switch]`).focus();
    },
    remove: (button) => panel.change(path(button), { method: "DELETE" }),
  });
}
