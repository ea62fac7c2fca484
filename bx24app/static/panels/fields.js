// From a form of the desk to JSON and back to its mistakes. A field's name is its path ("limits.form_day"); data-type says
// what it holds: "number", "lines" (a list, one a line), "optional" (empty is null), "list" (chosen ones); else text.
import { Problem } from "../api.js";
import { clearErrors, showErrors } from "../ui.js";

const READ = {
  number: ({ value }) => (value.trim() === "" ? null : Number(value)),
  lines: ({ value }) => value.split("\n").map((line) => line.trim()).filter(Boolean),
  optional: ({ value }) => value.trim() || null,
};

function put(target, path, value) {
  const names = path.split(".");
  const last = names.pop();
  const inner = names.reduce((object, name) => (object[name] ??= {}), target);
  inner[last] = value;
}

const inside = (target, path) => path.split(".").reduce((object, name) => object[name], target);

export function values(form) {
  const json = {};
  for (const list of form.querySelectorAll("[data-list]")) put(json, list.dataset.list, []);
  for (const field of form.elements) {
    if (!field.name || field.closest("[data-apart]")) continue;
    const list = field.closest("[data-list]");
    if (list) {
      if (field.type !== "checkbox" || field.checked) inside(json, list.dataset.list).push(field.value);
    } else if (field.type === "checkbox") put(json, field.name, field.checked);
    else if (field.type !== "radio" || field.checked) put(json, field.name, (READ[field.dataset.type] ?? (({ value }) => value))(field));
  }
  return json;
}

// The place of a mistake, or the nearest one around it, and the field beside it; what hides them is opened.
function placeOf(form, path) {
  const names = path.split(".");
  while (names.length) {
    const place = form.querySelector(`[data-errors="${names.join(".")}"]`);
    if (place) {
      place.closest("details")?.setAttribute("open", "");
      return [place.parentElement.querySelector("input, select, textarea"), place];
    }
    names.pop();
  }
  return null;
}

// Sends what a form holds (`more` is added to it); null when it was refused and every mistake stands at its field.
export async function submitted(form, work, more = {}) {
  clearErrors(form);
  try {
    return await work({ ...values(form), ...more });
  } catch (error) {
    if (error instanceof Problem && showErrors(form, error.errors, (path) => placeOf(form, path))) return null;
    throw error;
  }
}

// A list of chosen things with a select that adds to it and a cross that takes away.
export function chooser(box) {
  const [select, list] = [box.querySelector("select"), box.querySelector("ul")];
  const template = box.querySelector("template");
  select.addEventListener("change", () => {
    const chosen = select.selectedOptions[0];
    select.value = "";
    if (!chosen.value || [...list.querySelectorAll("input")].some(({ value }) => value === chosen.value)) return;
    const item = template.content.firstElementChild.cloneNode(true);
    item.querySelector("input").value = chosen.value;
    item.querySelector("span").textContent = chosen.textContent;
    list.append(item);
  });
  list.addEventListener("click", (event) => {
    const cross = event.target.closest("button");
    if (!cross) return;
    cross.closest("li").remove();
    select.focus();
  });
}
