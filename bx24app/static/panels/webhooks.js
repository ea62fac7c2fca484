// Webhooks: adding one shows its secret once; tests, deliveries, switching, a new secret.
import { send } from "../api.js";
import { confirmFirst, copy } from "../panels.js";
import { submitted } from "./fields.js";

export function start(panel) {
  const itemOf = (button) => button.closest("[data-id]");
  const path = (button) => `/webhooks/${itemOf(button).dataset.id}`;

  async function showSecret({ secret }) {
    await panel.load();
    panel.find("[data-new]").hidden = false;
    panel.find("#new-secret").value = secret;
    panel.find("[data-new] button").focus();
  }

  async function showDeliveries(item) {
    item.querySelector("[data-deliveries]").replaceChildren(...(await panel.fragment(`webhooks/${item.dataset.id}`)));
  }

  async function deliveries(button) {
    const place = itemOf(button).querySelector("[data-deliveries]");
    place.hidden = !place.hidden;
    button.setAttribute("aria-expanded", String(!place.hidden));
    if (!place.hidden) await showDeliveries(itemOf(button));
  }

  panel.onSubmit({
    async create(form) {
      const made = await submitted(form, (json) => send("/webhooks", { method: "POST", json }));
      if (made) await showSecret(made);
    },
  });
  panel.onClick({
    deliveries,
    copy: (button) => { if (copy(panel.find(`#${button.dataset.copies}`))) button.textContent = button.dataset.done; },
    ask: confirmFirst,
    async test(button) {
      await send(`${path(button)}/test`, { method: "POST" });
      panel.say(panel.find(".items").dataset.tested, "success");
      if (!itemOf(button).querySelector("[data-deliveries]").hidden) await showDeliveries(itemOf(button));
    },
    async again(button) {
      await send(`/webhooks/deliveries/${button.dataset.delivery}/redeliver`, { method: "POST" });
      await showDeliveries(itemOf(button));
    },
    async switch(button) {
      await send(path(button), { method: "PATCH", json: { is_on: button.dataset.on !== "true" } });
      await panel.load();
    },
    rotate: async (button) => showSecret(await send(`${path(button)}/rotate`, { method: "POST" })),
    async remove(button) {
      await panel.request(`/api/v1${path(button)}`, { method: "DELETE" });
      await panel.load();
    },
  });
}
