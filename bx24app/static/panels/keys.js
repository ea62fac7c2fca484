// API keys: one is shown once, when it is made.
import { send } from "../api.js";
import { submitted } from "./fields.js";

export function start(panel) {
  panel.onSubmit({
    async create(form) {
      const made = await submitted(form, (json) => send("/api-keys", { method: "POST", json }));
      if (made) await panel.reveal(made.secret);
    },
  });
  panel.onClick({
    revoke: (button) => panel.change(`/api-keys/${button.closest("[data-id]").dataset.id}`, { method: "DELETE" }),
  });
}
