// The parts of the view of one callback: only those that changed are written anew, and what the reader has opened or
// focused there stays so.
import { timeFormat } from "../ui.js";

const TO_THE_SECOND = { timeStyle: "medium" };
const WITH_DAY = { dateStyle: "medium", timeStyle: "medium" };
const DAY = { dateStyle: "medium" };

// Times with their seconds in the reader's zone; in the story the day stands where it begins.
export function exactTimes(root) {
  const [clock, whole, day] = [TO_THE_SECOND, WITH_DAY, DAY].map((options) => timeFormat(options));
  let last = "";
  for (const time of root.querySelectorAll("time[data-seconds]")) {
    const moment = new Date(time.dateTime);
    time.textContent = whole.format(moment);
    if (!time.matches(".story > li > time")) continue;
    time.title = whole.format(moment);
    if (day.format(moment) === last) time.textContent = clock.format(moment);
    last = day.format(moment);
  }
  for (const zone of root.querySelectorAll("[data-zone]")) zone.textContent = whole.resolvedOptions().timeZone;
}

// What the server wrote, whatever the page has made of it since.
function plain(part) {
  const copy = part.cloneNode(true);
  for (const time of copy.querySelectorAll("time")) {
    time.textContent = "";
    time.removeAttribute("title");
  }
  for (const changing of copy.querySelectorAll("[data-told], [data-zone]")) changing.textContent = "";
  return copy.outerHTML;
}

const partsOf = (root) => [...root.querySelectorAll("[data-part]")];
// Where stands what only Bitrix24 can tell: it was asked for once, and stays.
export const toldPlaces = (root) => [...root.querySelectorAll("[data-told]")];
const FOCUSED = ["action", "fold", "copies"];

function nameOf(element) {
  const holder = element.matches("summary") ? element.parentElement : element;
  const name = FOCUSED.find((one) => holder.dataset[one] !== undefined);
  const tail = holder === element ? "" : " > summary";
  return name ? `[data-${name}="${holder.dataset[name]}"]${tail}` : null;
}

export class Parts {
  constructor(root) {
    this.root = root;
    this.known = new Map(partsOf(root).map((part) => [part.dataset.part, plain(part)]));
  }

  // `fresh` is the same piece of the page as it is now.
  show(fresh) {
    const focused = this.root.contains(document.activeElement) ? nameOf(document.activeElement) : null;
    const opened = [...this.root.querySelectorAll("details[data-fold][open]")].map((fold) => fold.dataset.fold);
    const told = new Map(toldPlaces(this.root).map((place) => [place.dataset.told, place]));
    const wanted = partsOf(fresh);
    const changed = wanted.filter((part) => this.known.get(part.dataset.part) !== plain(part));
    const present = new Map(partsOf(this.root).map((part) => [part.dataset.part, part]));
    for (const part of changed) this.known.set(part.dataset.part, plain(part));
    for (const [name, part] of present) if (!wanted.some(({ dataset }) => dataset.part === name)) this.remove(name, part);
    for (const part of changed) {
      for (const fold of part.querySelectorAll("details[data-fold]")) fold.open = opened.includes(fold.dataset.fold);
      for (const place of toldPlaces(part)) place.replaceWith(told.get(place.dataset.told) ?? place);
      exactTimes(part);
      if (present.has(part.dataset.part)) present.get(part.dataset.part).replaceWith(part);
      else this.root.querySelector('[data-part="head"]').after(part);
    }
    if (focused && !this.root.contains(document.activeElement)) this.focus(focused);
  }

  remove(name, part) {
    this.known.delete(name);
    part.remove();
  }

  focus(name) {
    (this.root.querySelector(name) ?? this.root.querySelector("h1"))?.focus({ preventScroll: true });
  }
}
