// The editor of working hours: a row for every weekday, with a second span for those who close at noon, a picture of the
// week, holidays, and single days.
import { send } from "../api.js";
import { toggle } from "../ui.js";
import * as picture from "./week_picture.js";

const zones = () => Intl.supportedValuesOf?.("timeZone") ?? [];
const END = "24:00";

function showDay(row) {
  const isOpen = row.querySelector("[data-open]").checked;
  for (const input of row.querySelectorAll("input[type=time], [data-break]")) input.disabled = !isOpen;
  row.querySelector("[data-spans]").hidden = !isOpen;
  row.querySelector("[data-closed]").hidden = isOpen;
}

function regionOf(box) {
  const country = box.querySelector("[data-country]").value;
  return country && country + box.querySelector("[data-part]").value;
}

// Offers the parts of the country that have more holidays, and shows the next holiday as a proof of what was chosen.
async function showHolidays(box, chosen) {
  const [country, part] = [box.querySelector("[data-country]").value, box.querySelector("[data-part]")];
  const hint = box.querySelector("[data-holidays]");
  const found = (region) => send(`/settings/holidays?${new URLSearchParams({ region })}`);
  part.value = chosen;
  const whole = country ? await found(country) : { parts: [], next: null };
  const options = whole.parts.map(({ code, name }) => new Option(name, `-${code}`));
  // A part that was chosen stays, also where it has no holidays of its own.
  if (chosen.length > 1 && !options.some(({ value }) => value === chosen)) options.unshift(new Option(chosen.slice(1), chosen));
  part.hidden = !options.length;
  part.replaceChildren(...[...part.options].slice(0, 2), ...options);
  part.value = chosen;
  const { next, parts } = part.value ? await found(regionOf(box)) : whole;
  if (country !== box.querySelector("[data-country]").value) return;
  const day = next && new Date(`${next.day}T12:00`).toLocaleDateString(document.documentElement.lang, { dateStyle: "full" });
  hint.textContent = [parts.length && hint.dataset.ask, next && `${hint.dataset.next} ${day}, ${next.name}.`].filter(Boolean).join(" ");
}

// Buttons change what the editor says as fields do.
const tell = (box) => box.dispatchEvent(new Event("change", { bubbles: true }));

// What stands in one row of the week is copied to another.
function copyDay(from, to) {
  const fields = (row) => [...row.querySelectorAll("input")];
  fields(from).forEach((field, number) => Object.assign(fields(to)[number], { value: field.value, checked: field.checked }));
  to.querySelector("[data-second]").hidden = from.querySelector("[data-second]").hidden;
  to.querySelector("[data-break]").ariaExpanded = from.querySelector("[data-break]").ariaExpanded;
  showDay(to);
  tell(to);
}

// Days on which it is closed besides: each is a chip with a cross, and a date field adds one.
function addClosedDay(box, day) {
  if (!day || chosenDays(box).includes(day)) return;
  const list = box.querySelector("[data-dates]");
  const item = list.parentElement.querySelector("template").content.firstElementChild.cloneNode(true);
  item.dataset.day = day;
  item.querySelector("span").textContent = new Date(`${day}T12:00`).toLocaleDateString(document.documentElement.lang, { dateStyle: "medium" });
  const after = [...list.children].find((other) => other.dataset.day > day) ?? null;
  list.insertBefore(item, after);
}

function startClosedDays(box) {
  const [list, field] = [box.querySelector("[data-dates]"), box.querySelector("[data-new-day]")];
  const add = (day) => addClosedDay(box, day);
  list.dataset.days.split(" ").forEach(add);
  box.querySelector("[data-add-day]").addEventListener("click", () => {
    add(field.value);
    field.value = "";
    field.focus();
    tell(list);
  });
  list.addEventListener("click", ({ target }) => {
    if (!target.closest("button")) return;
    target.closest("li").remove();
    field.focus();
    tell(list);
  });
}

const chosenDays = (box) => [...box.querySelectorAll("[data-dates] li")].map(({ dataset }) => dataset.day);

export function start(box) {
  const shown = box.querySelector("[data-week-picture]");
  const draw = () => picture.show(shown.querySelector("svg"), weekOf(box), JSON.parse(shown.dataset.days));
  startClosedDays(box);
  const part = box.querySelector("[data-part]");
  const holidays = (chosen) => showHolidays(box, chosen).catch(() => { box.querySelector("[data-holidays]").textContent = ""; });
  holidays(part.dataset.chosen);
  box.querySelector("[data-country]").addEventListener("change", () => holidays(""));
  part.addEventListener("change", () => holidays(part.value));
  const list = box.querySelector("datalist");
  list.replaceChildren(...zones().map((zone) => new Option(zone)));
  const zone = box.querySelector("[data-zone]");
  zone.value ||= Intl.DateTimeFormat().resolvedOptions().timeZone;
  for (const row of box.querySelectorAll(".day[data-day]")) {
    showDay(row);
    row.querySelector("[data-open]").addEventListener("change", () => showDay(row));
    row.querySelector("[data-same]")?.addEventListener("click", () => copyDay(box.querySelector(".day"), row));
    row.querySelector("[data-break]").addEventListener("click", (event) => {
      const second = row.querySelector("[data-second]");
      if (toggle(event.currentTarget, second)) second.querySelector("input").focus();
      else for (const input of second.querySelectorAll("input")) input.value = "";
    });
  }
  const own = [...box.querySelectorAll("[data-own]")];
  const show = () => { box.querySelector("[data-week]").hidden = !own.find(({ checked }) => checked)?.value; };
  own.forEach((choice) => choice.addEventListener("change", show));
  if (own.length) show();
  for (const event of ["input", "change", "click"]) box.addEventListener(event, draw);
  draw();
}

// Puts a week of one span a day and single closed days into the editor; zone and public holidays stay.
export function fill(box, { week, closed }) {
  const own = box.querySelector('[data-own][value="1"]');
  if (own && !own.checked) own.click();
  for (const row of box.querySelectorAll(".day[data-day]")) {
    const [span] = week[row.dataset.day] ?? [];
    row.querySelector("[data-open]").checked = Boolean(span);
    const [from, to, ...second] = row.querySelectorAll("input[type=time]");
    if (span) [from.value, to.value] = [span[0], span[1] === END ? "00:00" : span[1]];
    for (const input of second) input.value = "";
    row.querySelector("[data-second]").hidden = true;
    row.querySelector("[data-break]").ariaExpanded = "false";
    showDay(row);
  }
  closed.forEach((day) => addClosedDay(box, day));
  tell(box);
}

function spans(row) {
  if (!row.querySelector("[data-open]").checked) return null;
  const times = [...row.querySelectorAll("input[type=time]")].map(({ value }) => value);
  const pairs = [[times[0], times[1]], [times[2], times[3]]].filter(([from, to]) => from || to);
  // A field of the browser knows no 24:00: midnight at the end means the end of the day.
  return pairs.map(([from, to]) => [from, to === "00:00" ? END : to]);
}

function weekOf(box) {
  const week = {};
  for (const row of box.querySelectorAll(".day[data-day]")) {
    const found = spans(row);
    if (found?.length) week[row.dataset.day] = found;
  }
  return week;
}

// The hours as JSON, or null for the portal's own.
export function read(box) {
  if (box.querySelector("[data-own]") && !box.querySelector("[data-own]:checked").value) return null;
  return {
    zone: box.querySelector("[data-zone]").value.trim(),
    week: weekOf(box),
    holidays: regionOf(box),
    closed: chosenDays(box),
  };
}
