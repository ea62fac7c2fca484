// The settings of one website form.
import { send } from "../api.js";
import { chooser, submitted } from "./fields.js";
import * as hours from "./hours.js";

export function start(panel) {
  const editor = panel.find("[data-hours]");
  panel.body.querySelectorAll("[data-chooser]").forEach(chooser);
  hours.start(editor);
  panel.onSubmit({
    async save(form) {
      const more = { hours: hours.read(editor) };
      const saved = await submitted(form, (json) => send(`/forms/${form.dataset.key}`, { method: "PATCH", json }), more);
      if (!saved) return;
      panel.view.root.querySelector("h1").textContent = saved.name;
      panel.say(form.dataset.saved, "success");
    },
  });
}
