// Who may call: everybody, or people chosen with the portal's own picker.
import { send } from "../api.js";
import * as frame from "../frame.js";
import { submitted } from "./fields.js";

export function start(panel) {
  const form = panel.find("form");
  const list = panel.find("[data-people]");
  const departments = form.dataset.departments.split(",").filter(Boolean).map(Number);
  const people = () => [...list.children].map(({ dataset }) => Number(dataset.id));

  function add({ id, name }) {
    if (people().includes(Number(id))) return;
    const item = panel.find("[data-chosen] template").content.firstElementChild.cloneNode(true);
    item.dataset.id = id;
    item.querySelector("span").textContent = name;
    list.append(item);
  }

  function roles() {
    if (form.elements.who.value === "everybody") return { operators: { everybody: true }, others: "view" };
    return { operators: { people: people(), departments }, others: form.elements.others.value };
  }

  form.addEventListener("change", () => { panel.find("[data-chosen]").hidden = form.elements.who.value === "everybody"; });
  panel.onClick({
    async pick(button) {
      if (!frame.portal().isInside) return panel.say(button.dataset.outside, "warning");
      // The portal says nothing when its dialog is closed, so the button must not wait for it.
      frame.selectUsers((chosen) => chosen.forEach(add));
      return null;
    },
    drop(button) {
      button.closest("li").remove();
      panel.find("[data-action=pick]").focus();
    },
  });
  panel.onSubmit({
    async save() {
      const json = { roles: roles() };
      const { operators } = json.roles;
      if (!operators.everybody && !operators.people.length && !departments.length) return panel.say(form.dataset.nobody, "warning");
      if (await submitted(form, () => send("/settings", { method: "PATCH", json }))) panel.say(form.dataset.saved, "success");
      return null;
    },
  });
}
