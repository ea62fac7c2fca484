// API keys: one is shown once, when it is made.
import { send } from "../api.js";
import { confirmFirst, copy } from "../panels.js";
import { submitted } from "./fields.js";

export function start(panel) {
  panel.onSubmit({
    async create(form) {
      const made = await submitted(form, (json) => send("/api-keys", { method: "POST", json }));
      if (!made) return;
      await panel.load();
      panel.find("[data-new]").hidden = false;
      panel.find("#new-key").value = made.secret;
      panel.find("[data-new] button").focus();
    },
  });
  panel.onClick({
    copy: (button) => { if (copy(panel.find(`#${button.dataset.copies}`))) button.textContent = button.dataset.done; },
    ask: confirmFirst,
    async revoke(button) {
      await panel.request(`/api/v1/api-keys/${button.closest("[data-id]").dataset.id}`, { method: "DELETE" });
      await panel.load();
    },
  });
}
