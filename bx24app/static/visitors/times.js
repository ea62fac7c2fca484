// Times in the visitor's own zone, in the page's language.
import { localTimes, timeFormat } from "../ui.js";

const DAY = { weekday: "long", day: "numeric", month: "long" };
const WHOLE = { weekday: "short", day: "numeric", month: "long", hour: "numeric", minute: "2-digit" };
// A closed list shows one choice without its day above it.
const SHORT = { ...WHOLE, month: "short" };

// Choices of a time stand under their day; a choice without a time (as soon as possible) stays in front.
function regroup(select) {
  const chosen = select.value;
  const [day, short] = [timeFormat(DAY), timeFormat(SHORT)];
  const options = [...select.querySelectorAll("option")];
  const groups = new Map();
  for (const option of options.filter(({ value }) => value)) {
    const moment = new Date(option.value);
    const label = day.format(moment);
    if (!groups.has(label)) groups.set(label, Object.assign(document.createElement("optgroup"), { label }));
    option.textContent = short.format(moment);
    groups.get(label).append(option);
  }
  select.replaceChildren(...options.filter(({ value }) => !value), ...groups.values());
  select.value = chosen;
}

// Whether the visitor's clock shows a moment as the company's does: one zone has several names, of which a browser may not
// know each.
function isSameClock(moment, zone) {
  try {
    const [here, there] = [{}, { timeZone: zone }].map((where) => new Intl.DateTimeFormat("en", { ...WHOLE, ...where }));
    return here.format(moment) === there.format(moment);
  } catch {
    return false;
  }
}

// Writes every time below `root` anew: the server wrote them in the company's zone.
export function localise(root) {
  localTimes(root, timeFormat(WHOLE));
  root.querySelectorAll("select[data-times]").forEach(regroup);
  for (const note of root.querySelectorAll("[data-zone]")) {
    const place = note.closest("[data-company-zone]");
    const select = place.querySelector("select");
    // Worth saying only beside a chosen time, and where the company's clock is another one.
    const show = () => { note.hidden = !select.value || isSameClock(new Date(select.value), place.dataset.companyZone); };
    note.textContent = note.dataset.zone;
    select.addEventListener("change", show);
    show();
  }
}
