// Who may call: everybody, or people chosen with the portal's own picker, or by their names; and what they see.
import * as frame from "../frame.js";
import { selectUsers } from "../portal_pages.js";
import { startSettings } from "../settings_form.js";

const listOf = (form) => form.querySelector("[data-people]");
const chosen = (form) => [...listOf(form).children].map(({ dataset }) => Number(dataset.id)).sort((one, other) => one - other);
const departments = (form) => form.dataset.departments.split(",").filter(Boolean).map(Number);

function roles(form) {
  if (form.elements.who.value === "everybody") return { operators: { everybody: true }, others: "view" };
  return { operators: { people: chosen(form), departments: departments(form) }, others: form.elements.others.value };
}

function read(form) {
  const [callbacks, reports] = ["callbacks", "reports"].map((name) => form.elements[name].value === "all");
  return { roles: roles(form), shares_callbacks: callbacks, shares_reports: reports };
}

function check(form) {
  const { operators } = roles(form);
  return operators.everybody || operators.people.length || operators.departments.length ? "" : form.dataset.nobody;
}

function changed(form) {
  form.dispatchEvent(new Event("change"));
}

function add(form, { id, name }) {
  if (chosen(form).includes(Number(id))) return;
  const item = form.querySelector("[data-chosen] template").content.firstElementChild.cloneNode(true);
  item.dataset.id = id;
  item.querySelector("span").textContent = name;
  listOf(form).append(item);
  changed(form);
}

// A name that is known, whole: the browser offers them while somebody types.
function search(form, field) {
  const known = [...field.list.options].find(({ value }) => value === field.value);
  if (!known) return;
  field.value = "";
  add(form, { id: known.dataset.id, name: known.value });
}

function begin(form) {
  form.addEventListener("change", () => { form.querySelector("[data-chosen]").hidden = form.elements.who.value === "everybody"; });
  const field = form.querySelector("[data-search]");
  field.addEventListener("input", () => search(form, field));
}

export function start(panel) {
  const page = startSettings(panel, { begin, read, check });
  panel.onClick({
    async pick(button) {
      if (!frame.portal().isInside) return panel.say(button.dataset.outside, "warning");
      // The portal says nothing when its dialog is closed, so the button must not wait for it.
      selectUsers((people) => people.forEach((one) => add(page.form, one)));
      return null;
    },
    drop(button) {
      button.closest("li").remove();
      panel.find("[data-action=pick]").focus();
      changed(page.form);
    },
  });
}
