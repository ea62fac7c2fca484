// The editor of working hours: a row for every weekday, with a second span for those who close at noon.
import { send } from "../api.js";
import { toggle } from "../ui.js";

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

export function start(box) {
  const part = box.querySelector("[data-part]");
  const holidays = (chosen) => showHolidays(box, chosen).catch(() => { box.querySelector("[data-holidays]").textContent = ""; });
  holidays(part.dataset.chosen);
  box.querySelector("[data-country]").addEventListener("change", () => holidays(""));
  part.addEventListener("change", () => holidays(part.value));
  const list = box.querySelector("datalist");
  list.replaceChildren(...zones().map((zone) => new Option(zone)));
  const zone = box.querySelector("[data-zone]");
  zone.value ||= Intl.DateTimeFormat().resolvedOptions().timeZone;
  for (const row of box.querySelectorAll("[data-day]")) {
    showDay(row);
    row.querySelector("[data-open]").addEventListener("change", () => showDay(row));
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
}

function spans(row) {
  if (!row.querySelector("[data-open]").checked) return null;
  const times = [...row.querySelectorAll("input[type=time]")].map(({ value }) => value);
  const pairs = [[times[0], times[1]], [times[2], times[3]]].filter(([from, to]) => from || to);
  // A field of the browser knows no 24:00: midnight at the end means the end of the day.
  return pairs.map(([from, to]) => [from, to === "00:00" ? END : to]);
}

// The hours as JSON, or null for the portal's own.
export function read(box) {
  if (box.querySelector("[data-own]") && !box.querySelector("[data-own]:checked").value) return null;
  const week = {};
  for (const row of box.querySelectorAll("[data-day]")) {
    const found = spans(row);
    if (found?.length) week[row.dataset.day] = found;
  }
  return {
    zone: box.querySelector("[data-zone]").value.trim(),
    week,
    holidays: regionOf(box),
    closed: box.querySelector("[data-dates]").value.split(/[\s,;]+/).filter(Boolean),
  };
}
