// Settings for everybody.
import { send } from "../api.js";
import { submitted } from "./fields.js";
import * as hours from "./hours.js";

export function start(panel) {
  const editor = panel.find("[data-hours]");
  hours.start(editor);
  panel.onSubmit({
    async save(form) {
      const more = { hours: hours.read(editor) ?? "" };
      // An empty field clears the limit; one that is left out would keep it.
      if (!form.elements.line_cap.value) more.line_cap = "";
      if (await submitted(form, (json) => send("/settings", { method: "PATCH", json }), more)) panel.say(form.dataset.saved, "success");
    },
  });
}
