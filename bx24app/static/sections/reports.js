// Reports: a period and a filter in the address, the figures as the server renders them, and files.
import { Problem, request, wordsFor } from "../api.js";
import { busily, say } from "../ui.js";

const BETWEEN = "between";
const PERSON = "person";
const PARTS = ["form_key", "line_id", "source", PERSON];

// What the form asks for, as the address and the API write it.
function queryOf(form) {
  const chosen = new FormData(form);
  const query = new URLSearchParams();
  if (chosen.get("period") === BETWEEN) ["from", "to"].forEach((name) => query.set(name, chosen.get(name)));
  else query.set("period", chosen.get("period"));
  PARTS.forEach((name) => { if (chosen.get(name)) query.set(name, chosen.get(name)); });
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

const STEPS = { ArrowRight: 1, ArrowLeft: -1 };

// Tables of which one is shown: a press or an arrow chooses the tab.
function choosesAmong(list) {
  const tabs = [...list.querySelectorAll("[role=tab]")];
  const choose = (chosen) => tabs.forEach((tab) => {
    tab.setAttribute("aria-selected", tab === chosen);
    tab.tabIndex = tab === chosen ? 0 : -1;
    document.getElementById(tab.getAttribute("aria-controls")).hidden = tab !== chosen;
  });
  list.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) choose(tab);
  });
  list.addEventListener("keydown", (event) => {
    const step = STEPS[event.key] ?? 0;
    if (!step) return;
    const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
    choose(next);
    next.focus();
  });
}

export function show(view) {
  const form = view.root.querySelector("[data-filter]");
  const note = view.root.querySelector("[data-note]");
  const gone = new AbortController();
  form.addEventListener("change", (event) => {
    // A person's figures are not counted by form, line and source: the last choice holds.
    if (event.target.value && PARTS.includes(event.target.name)) {
      const isOther = (name) => (name === PERSON) !== (event.target.name === PERSON);
      PARTS.filter(isOther).forEach((name) => { if (form.elements[name]) form.elements[name].value = ""; });
    }
    const isBetween = form.elements.period.value === BETWEEN;
    form.querySelectorAll("[data-days]").forEach((field) => { field.hidden = !isBetween; });
    if (form.checkValidity()) view.go(`reports?${queryOf(form)}`, { replaces: true });
  });
  // A bar leads where its figure does; only figures are stops of the Tab key.
  view.root.addEventListener("click", ({ target }) => {
    const link = target.dataset.link ?? target.closest(".picture")?.closest("tr").querySelector("a")?.getAttribute("href");
    if (link) location.hash = link;
  }, { signal: gone.signal });
  view.root.querySelectorAll("[data-tabs]").forEach(choosesAmong);
  view.root.querySelectorAll("[data-more]").forEach((button) => button.addEventListener("click", () => {
    const table = button.previousElementSibling;
    const rows = table.querySelector(".more");
    rows.hidden = false;
    Object.assign(table, { tabIndex: -1 }).focus({ preventScroll: true });
    button.remove();
  }));
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
  return () => gone.abort();
}
