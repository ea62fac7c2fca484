// Settings of calls.
import { send } from "../api.js";
import { submitted } from "./fields.js";

export function start(panel) {
  panel.onSubmit({
    async save(form) {
      // An empty field clears the limit; one that is left out would keep it.
      const more = form.elements.line_cap.value ? {} : { line_cap: "" };
      if (await submitted(form, (json) => send("/settings", { method: "PATCH", json }), more)) panel.say(form.dataset.saved, "success");
    },
  });
}
