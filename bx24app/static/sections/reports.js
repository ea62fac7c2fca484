// Reports: a period and a filter in the address, the figures as the server renders them, and files.
import { Problem, request, wordsFor } from "../api.js";
import { busily, say } from "../ui.js";

const BETWEEN = "between";

// What the form asks for, as the address and the API write it.
function queryOf(form) {
  const chosen = new FormData(form);
  const query = new URLSearchParams();
  if (chosen.get("period") === BETWEEN) ["from", "to"].forEach((name) => query.set(name, chosen.get(name)));
  else query.set("period", chosen.get("period"));
  const part = chosen.get("part") ?? "";
  if (part) query.set(part.slice(0, part.indexOf("=")), part.slice(part.indexOf("=") + 1));
  if (chosen.has("compare")) query.set("compare", "1");
  return query;
}

// The ticket is in a header, so the browser cannot fetch the file by itself.
async function save(name, query) {
  const response = await request(`/api/v1/reports/${name}.csv?${query}`);
  const url = URL.createObjectURL(await response.blob());
  const link = Object.assign(document.createElement("a"), { href: url, download: `${name}.csv` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

export function show(view) {
  const form = view.root.querySelector("[data-filter]");
  const note = view.root.querySelector("[data-note]");
  form.addEventListener("change", () => {
    const isBetween = form.elements.period.value === BETWEEN;
    form.querySelectorAll("[data-days]").forEach((field) => { field.hidden = !isBetween; });
    if (form.checkValidity()) view.go(`reports?${queryOf(form)}`, { replaces: true });
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  view.root.querySelectorAll("[data-export]").forEach((button) => {
    button.addEventListener("click", () => busily(button, async () => {
      say(note, "");
      try {
        await save(button.dataset.export, queryOf(form));
      } catch (error) {
        if (!(error instanceof Problem) && !(error instanceof TypeError)) throw error;
        say(note, wordsFor(error), "failure");
      }
    }));
  });
}
