// Webhooks: adding one shows its secret once; tests, deliveries, switching, a new secret.
import { fetchFragment, send } from "../api.js";
import { toggle } from "../ui.js";
import { submitted } from "./fields.js";

export function start(panel) {
  const itemOf = (button) => button.closest("[data-id]");
  const path = (button) => `/webhooks/${itemOf(button).dataset.id}`;

  async function showDeliveries(item) {
    item.querySelector("[data-deliveries]").replaceChildren(await fetchFragment(`/desk/webhooks/${item.dataset.id}`));
  }

  async function deliveries(button) {
    const item = itemOf(button);
    if (toggle(button, item.querySelector("[data-deliveries]"))) await showDeliveries(item);
  }

  panel.onSubmit({
    async create(form) {
      const made = await submitted(form, (json) => send("/webhooks", { method: "POST", json }));
      if (made) await panel.reveal(made.secret);
    },
  });
  panel.onClick({
    deliveries,
    async test(button) {
      await send(`${path(button)}/test`, { method: "POST" });
      panel.say(panel.find(".items").dataset.tested, "success");
      if (!itemOf(button).querySelector("[data-deliveries]").hidden) await showDeliveries(itemOf(button));
    },
    async again(button) {
      await send(`/webhooks/deliveries/${button.dataset.delivery}/redeliver`, { method: "POST" });
      await showDeliveries(itemOf(button));
    },
    switch: (button) => panel.change(path(button), { method: "PATCH", json: { is_on: button.dataset.on !== "true" } }),
    rotate: async (button) => panel.reveal((await send(`${path(button)}/rotate`, { method: "POST" })).secret),
    remove: (button) => panel.change(path(button), { method: "DELETE" }),
  });
}
