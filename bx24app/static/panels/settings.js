// Settings for everybody.
import { send } from "../api.js";
import { submitted } from "./fields.js";

export function start(panel) {
  panel.onSubmit({
    async save(form) {
      if (await submitted(form, (json) => send("/settings", { method: "PATCH", json }))) panel.say(form.dataset.saved, "success");
    },
  });
}
