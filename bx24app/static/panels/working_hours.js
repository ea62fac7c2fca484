// The company's working hours.
import { send } from "../api.js";
import { submitted } from "./fields.js";
import * as hours from "./hours.js";

export function start(panel) {
  const editor = panel.find("[data-hours]");
  hours.start(editor);
  panel.onSubmit({
    async save(form) {
      const json = { hours: hours.read(editor) ?? "" };
      if (await submitted(form, () => send("/settings", { method: "PATCH", json }))) panel.say(form.dataset.saved, "success");
    },
  });
}
