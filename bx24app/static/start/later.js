// When to call later. The server lists the times of a day in the company's zone, each as a moment: nothing here turns a
// time of the clock into a moment, so a change of the clock is no matter.
import { fetchFragment } from "../api.js";
import { timeFormat } from "../ui.js";

const CLOCK = { hour: "2-digit", minute: "2-digit" };
const EARLY = 8 * 60;
const LATE = 21 * 60;

const minutesIn = (at, timeZone) => {
  const [hours, minutes] = new Intl.DateTimeFormat("en-GB", { ...CLOCK, hourCycle: "h23", timeZone }).format(at).split(":");
  return Number(hours) * 60 + Number(minutes);
};
const dayIn = (at, timeZone) => new Intl.DateTimeFormat("en-CA", { year: "numeric", month: "2-digit", day: "2-digit", timeZone }).format(at);
const readersZone = () => timeFormat().resolvedOptions().timeZone;

export class Later {
  // `changed` is called with each new choice, and when its times begin to be fetched: while it `isLoading`, what plans the
  // call waits, for it would plan the choice before, and move under the pointer. `customerZone` tells the zone of the
  // chosen number's country, if it has one.
  constructor(place, { changed, customerZone, failed }) {
    Object.assign(this, { place, changed, customerZone, failed, asked: 0, waits: 0 });
    place.addEventListener("click", ({ target }) => target.closest("[data-chip]") && this.guarded(() => this.press(target.closest("[data-chip]"))));
    place.addEventListener("change", (event) => this.guarded(() => this.change(event.target)));
  }

  async guarded(work) {
    this.waits += 1;
    this.changed();
    try {
      await work();
    } catch (error) {
      this.failed(error);
    } finally {
      this.waits -= 1;
      this.changed();
    }
  }

  get isLoading() {
    return this.waits > 0;
  }

  part(name) {
    return this.place.querySelector(`[data-${name}]`);
  }

  get select() {
    return this.place.querySelector("select");
  }

  get at() {
    return this.select?.value ?? "";
  }

  // "Fri 27 Nov, 15:00", as the company's clock shows it.
  get words() {
    const chosen = this.select?.selectedOptions[0];
    return chosen ? `${this.part("times").dataset.words}, ${chosen.textContent}` : "";
  }

  async open() {
    this.place.replaceChildren(await this.fetch());
    this.zone = this.part("zone").dataset.zone;
    this.show();
  }

  // `form`, the key of a website form, asks for its hours instead of the company's.
  fetch(query = {}) {
    return fetchFragment(`/desk/start/later?${new URLSearchParams(this.form ? { ...query, form_key: this.form } : query)}`);
  }

  async load(day) {
    const asked = ++this.asked;
    const fresh = (await this.fetch({ day })).querySelector("[data-times]");
    if (asked !== this.asked) return false;
    this.part("times").replaceWith(fresh);
    return true;
  }

  async change(field) {
    if (field.type === "radio") {
      this.part("other").hidden = field.value !== "other";
      if (field.value === "other") return this.part("other").querySelector("input").focus();
      await this.load(field.value);
    } else if (field.type === "date") {
      if (!field.value || !field.validity.valid) return null;
      await this.load(field.value);
    }
    return this.show();
  }

  async press(chip) {
    const { minutes, at } = chip.dataset;
    const moment = minutes ? new Date(Math.ceil((Date.now() + minutes * 60000) / 60000) * 60000) : new Date(at);
    const day = dayIn(moment, this.zone);
    if (!(await this.load(day))) return;
    const radio = this.place.querySelector(`input[type="radio"][value="${day}"]`) ?? this.place.querySelector('input[value="other"]');
    radio.checked = true;
    this.part("other").hidden = radio.value !== "other";
    if (radio.value === "other") this.part("other").querySelector("input").value = day;
    this.choose(moment);
    this.show();
  }

  // A moment between two quarters of an hour gets a line of its own.
  choose(moment) {
    const options = [...this.select.options];
    const known = options.find(({ value }) => Date.parse(value) === moment.getTime());
    if (known) {
      known.selected = true;
      return;
    }
    const next = options.find(({ value }) => Date.parse(value) > moment.getTime()) ?? null;
    const near = next ?? options.at(-1);
    const clock = new Intl.DateTimeFormat("en-GB", { ...CLOCK, hourCycle: "h23", timeZone: this.zone }).format(moment);
    const option = new Option(clock, moment.toISOString(), false, true);
    option.toggleAttribute("data-closed", near?.hasAttribute("data-closed") ?? false);
    this.select.disabled = false;
    this.select.insertBefore(option, next);
  }

  show() {
    const at = new Date(this.at);
    const has = Boolean(this.at);
    const yours = this.part("yours");
    yours.textContent = has ? yours.dataset.words.replace("{time}", timeFormat(dayIn(at, this.zone) === dayIn(at, readersZone()) ? CLOCK : { ...CLOCK, weekday: "short" }).format(at)) : "";
    this.showCustomer(has ? at : null);
    this.part("outside").hidden = !this.select?.selectedOptions[0]?.hasAttribute("data-closed");
    this.changed();
  }

  showCustomer(at) {
    const [theirs, zone] = [this.part("customer"), this.customerZone()];
    const known = Boolean(at && zone);
    theirs.textContent = known ? theirs.dataset.words.replace("{time}", timeFormat({ ...CLOCK, timeZone: zone }).format(at)) : "";
    const minutes = known ? minutesIn(at, zone) : EARLY;
    this.part("early").hidden = minutes >= EARLY;
    this.part("late").hidden = minutes <= LATE;
  }
}
