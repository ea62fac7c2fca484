// What stands on every page, the desk's and the visitors': the status line, mistakes at their fields, buttons that wait or
// open something, local times. It is small, so visitors load nothing of the desk with it.

const FADES_AFTER = 6000;
// A press that never ends, as some browsers tell of a menu's, holds nothing up for more than two seconds.
const MOST_WAITS = 40;
const SHORT = { dateStyle: "short", timeStyle: "short" };

export const byId = (id) => document.getElementById(id);

export const parse = (html) => new DOMParser().parseFromString(html, "text/html");

// `kind` is success, warning or failure. What went well is soon overtaken by the page beside it; what went wrong stays.
export function say(note, text, kind = "", { fades = kind === "success" } = {}) {
  clearTimeout(note.fading);
  if (fades) note.fading = setTimeout(() => say(note, ""), FADES_AFTER);
  // The same words once more would be read aloud once more.
  if (note.textContent !== text) note.textContent = text;
  note.className = `note ${kind}`;
  note.hidden = !text;
}

// Writes a mistake at its place and marks the field, or takes both away when the message is empty.
export function markField(field, place, message) {
  place.textContent = message;
  place.hidden = !message;
  if (message) field?.setAttribute("aria-invalid", "true");
  else field?.removeAttribute("aria-invalid");
}

export function clearErrors(form) {
  for (const place of form.querySelectorAll(".error")) markField(null, place, "");
  for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
}

// The field of this name and the place of its mistakes, or null when the page has none.
export function fieldNamed(form, name) {
  const [field, place] = [form.querySelector(`[name="${name}"]`), byId(`${name}-error`)];
  return field && place ? [field, place] : null;
}

// Shows each mistake where `find` says, and moves to the first of them; tells whether any had a place.
export function showErrors(form, errors, find = (name) => fieldNamed(form, name)) {
  const shown = errors.filter(({ field, message }) => {
    const found = find(field);
    if (found) markField(...found, message);
    return found;
  });
  if (shown.length) form.querySelector('[aria-invalid="true"]')?.focus();
  return shown.length > 0;
}

// Eight bars, for what is a while in coming.
export function skeleton() {
  const bars = document.createElement("div");
  bars.className = "skeleton";
  bars.setAttribute("aria-hidden", "true");
  bars.append(...Array.from({ length: 8 }, () => document.createElement("span")));
  return bars;
}

// Runs `work` once at a time: the control waits meanwhile.
export async function busily(control, work) {
  if (control.disabled) return;
  control.disabled = true;
  control.setAttribute("aria-busy", "true");
  try {
    await work();
  } finally {
    control.disabled = false;
    control.removeAttribute("aria-busy");
  }
}

async function released() {
  for (let waits = 0; waits < MOST_WAITS && document.querySelector(":active"); waits += 1) await new Promise((goOn) => { setTimeout(goOn, 50); });
}

// Nothing is put in the place of what is being pressed: a press that ends on something else than it began on is lost. All
// wait for the same moment, so what came first is shown first.
let going = null;
export const letGo = () => (going ??= released().finally(() => { going = null; }));

// Shows or hides what a button opens; tells whether it is open now.
export function toggle(button, part) {
  part.hidden = !part.hidden;
  button.setAttribute("aria-expanded", String(!part.hidden));
  return !part.hidden;
}

// Asks inside the page, where the eyes are: a dialog could open out of sight in a high frame. The last button is "no".
export function confirmFirst(button) {
  const question = button.nextElementSibling;
  question.hidden = false;
  button.hidden = true;
  const buttons = [...question.querySelectorAll("button")];
  const closed = new AbortController();
  const keep = () => { closed.abort(); question.hidden = true; button.hidden = false; button.focus(); };
  buttons[0].focus();
  buttons.at(-1).addEventListener("click", keep, { signal: closed.signal });
  question.addEventListener("keydown", ({ key }) => key === "Escape" && keep(), { signal: closed.signal });
}

// A frame may not use the clipboard's own interface unless the portal says so: copying a selection works everywhere.
export function copy(field) {
  field.focus();
  field.select();
  return document.execCommand("copy");
}

// Times by the reader's own habits where they read the page's language: 23/11/2026 or 11/23/26, and in their own zone: that
// of their profile in Bitrix24, which the page names, else the browser's. What a browser reports as its languages may be
// none (en-US@posix), and it may not know the zone.
export function timeFormat(options = SHORT) {
  const { lang, dataset: { zone: timeZone } } = document.documentElement;
  const locale = (navigator.languages ?? []).find((one) => String(one).toLowerCase().startsWith(lang)) ?? lang;
  for (const [language, wanted] of [[locale, { timeZone, ...options }], [lang, { timeZone, ...options }]]) {
    try {
      return new Intl.DateTimeFormat(language, wanted);
    } catch {
      continue;
    }
  }
  return new Intl.DateTimeFormat(lang, options);
}

export const localTime = (moment) => timeFormat().format(new Date(moment));

// Writes every time below `root` anew: the server wrote them in another zone.
export function localTimes(root, format = timeFormat()) {
  for (const time of root.querySelectorAll("time[datetime]")) time.textContent = format.format(new Date(time.dateTime));
}
