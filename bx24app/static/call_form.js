// The form that starts callbacks.
import { Problem, send, wordsFor } from "./api.js";
import { callNow } from "./callback_actions.js";
import * as frame from "./frame.js";
import { startBar } from "./start/bar.js";
import { busily, byId, clearErrors, fieldNamed, localTime, say, showErrors, toggle } from "./ui.js";

// A number in national form is recognised by its end: 030 901820 is +49 30 901820.
const sameNumber = (e164, typed) => e164.endsWith(typed.replace(/\D/g, "").replace(/^0+/, ""));

class CallForm {
  constructor(root, list) {
    Object.assign(this, { root, list, form: byId("call-form"), call: byId("call"), result: byId("result") });
    Object.assign(this, { line: byId("line_id"), known: byId("known-number"), later: byId("later") });
    this.renewKey();
    // What stands in the field from the beginning is explained on the page already.
    const typed = byId("to_number");
    Object.assign(this, { explained: typed.value.trim(), meant: null, zone: typed.dataset.zone, times: null });
    Object.assign(this, { inTheWay: byId("in-the-way"), strip: null, text: null });
  }

  listen() {
    this.form.addEventListener("submit", (event) => this.submit(event));
    byId("planned-now").addEventListener("click", ({ target }) => this.busily(() => this.bringForward(target.dataset.id)));
    byId("planned-both").addEventListener("click", () => this.busily(() => this.start()));
    this.later.addEventListener("click", () => this.toggleLater());
    this.inTheWay.querySelector("button")?.addEventListener("click", () => this.showOther(this.inTheWay.dataset.id));
    this.line.addEventListener("change", () => this.showWhoRings());
    this.known?.addEventListener("change", () => {
      byId("number-field").hidden = Boolean(this.known.value);
      if (!this.known.value) byId("to_number").focus();
      this.spoken().then((text) => text.changed());
      this.showTimes();
    });
    byId("to_number").addEventListener("change", () => this.explain().catch((error) => this.warn(error)));
    byId("own-phone").addEventListener("click", () => this.callFromOwnPhone());
    byId("refresh-lines").addEventListener("click", ({ currentTarget }) => this.refresh(currentTarget, "lines", this.line));
    byId("refresh-voices").addEventListener("click", ({ currentTarget }) => this.refresh(currentTarget, "voices", byId("voice_id")));
    byId("text").addEventListener("input", () => this.spoken().then((text) => text.changed()));
    byId("text-variables").addEventListener("click", ({ target: { dataset } }) => dataset.insert && this.spoken().then((text) => text.insert(dataset.insert)));
    this.showWhoRings();
    this.showWhetherToCall();
  }

  // Both are loaded when they are needed first, so that the page opens sooner.
  spoken() {
    this.text ??= import("./start/text.js").then(({ SpokenText }) => new SpokenText(() => this.customerName));
    return this.text;
  }

  followed() {
    this.strip ??= import("./start/strip.js").then(({ Strip }) => new Strip());
    return this.strip;
  }

  // One key per intended call: pressing again after a lost connection starts nothing twice.
  renewKey() {
    this.key = crypto.randomUUID();
  }

  get isPlanned() {
    return this.later.getAttribute("aria-expanded") === "true";
  }

  get number() {
    return this.known?.value || byId("to_number").value.trim();
  }

  // The number without the words and the extension that were typed beside it, once the server has read it.
  get plainNumber() {
    return (this.number === this.explained && this.meant) || this.number;
  }

  // Whom the chosen number belongs to, as the card says.
  get customerName() {
    return this.known?.selectedOptions[0].dataset.name || byId("to_number").dataset.name || this.form.dataset.customerName;
  }

  // The zone of the number's country, where that has one only.
  get customerZone() {
    return this.known?.value ? this.known.selectedOptions[0].dataset.zone : this.zone;
  }

  say(text, kind) {
    say(this.result, text, kind);
  }

  clear() {
    clearErrors(this.form);
    this.say("");
    this.inTheWay.hidden = true;
  }

  showErrors(errors) {
    return showErrors(this.form, errors, (name) => {
      if (name === "to_number" && this.known?.value) return [this.known, byId("to_number-error")];
      return fieldNamed(this.form, name);
    });
  }

  body() {
    const asked = { to_number: this.number, voice_id: byId("voice_id").value, text: byId("text").value };
    const { entityType, entityId } = this.root.dataset;
    if (this.line.value) asked.line_id = this.line.value;
    if (entityId > 0) asked.crm_entity = { type: entityType, id: Number(entityId) };
    if (this.customerName) asked.customer_name = this.customerName;
    if (this.isPlanned) asked.scheduled_at = this.times.at;
    return asked;
  }

  warn(error) {
    this.say(wordsFor(error, this.result.dataset.offline), "warning");
  }

  failed(error) {
    if (!(error instanceof Problem)) return this.warn(error);
    // Answered, so the next press is a new intention.
    this.renewKey();
    if (error.code === "duplicate_open_callback") return this.showInTheWay(error);
    if (!this.showErrors(error.errors)) this.say(error.message, "failure");
    return null;
  }

  // Another callback to the number is under way: the way leads to it, where one may see it.
  showInTheWay({ message, id }) {
    const [words, way] = this.inTheWay.children;
    words.textContent = message;
    way.hidden = !id;
    this.inTheWay.dataset.id = id ?? "";
    if (way.href) way.href = `#/callbacks/${id}`;
    this.inTheWay.hidden = false;
    if (id) this.list.highlight(id);
  }

  // On a card: its row, or itself in the desk where it is none of the latest.
  showOther(id) {
    return this.list.highlight(id) || this.list.openCallback(id);
  }

  busily(work) {
    return busily(this.call, () => work().catch((error) => this.failed(error)));
  }

  // What to know about a typed number: another country, an extension that is not dialled. False when it was told before.
  async explain() {
    const typed = this.known?.value ? "" : byId("to_number").value.trim();
    if (typed === this.explained) return false;
    const nothing = { number: null, notices: [], zone: null };
    const { number, display, notices, zone } = typed ? await send("/numbers/read", { method: "POST", json: { number: typed } }) : nothing;
    Object.assign(this, { explained: typed, meant: number, zone });
    this.showTimes();
    say(byId("number-notice"), notices.length ? [`${display}:`, ...notices].join(" ") : "", "warning");
    return notices.length > 0;
  }

  async plannedAlready() {
    const typed = this.plainNumber;
    const digits = typed.replace(/\D/g, "").slice(-7);
    if (digits.length < 5) return null;
    const { callbacks } = await send(`/callbacks?state=scheduled&q=${digits}&limit=20`);
    return callbacks.find((callback) => sameNumber(callback.to_number, typed)) ?? null;
  }

  offerChoice(callback) {
    const words = byId("planned-words");
    words.textContent = words.dataset.words.replace("{moment}", localTime(callback.scheduled_at));
    byId("planned-now").dataset.id = callback.id;
    byId("planned-choice").hidden = false;
    byId("planned-now").focus();
  }

  async start() {
    byId("planned-choice").hidden = true;
    const callback = await send("/callbacks", { method: "POST", json: this.body(), headers: { "Idempotency-Key": this.key } });
    this.renewKey();
    const wasPlanned = this.isPlanned;
    if (wasPlanned) await this.toggleLater();
    await this.started(callback, wasPlanned);
  }

  async bringForward(id) {
    byId("planned-choice").hidden = true;
    await this.started(await callNow(id), false);
  }

  async started(callback, isPlanned) {
    this.say(isPlanned ? this.result.dataset.planned : this.result.dataset.accepted, "success");
    if (frame.opensFromMenu(this.root.dataset.placement)) {
      await frame.reloadData();
      return frame.closeApplication();
    }
    if (!isPlanned) (await this.followed()).follow(callback);
    return this.list.lookNow();
  }

  submit(event) {
    event.preventDefault();
    if (this.call.disabled) return null;
    this.clear();
    if (this.isPlanned && !(new Date(this.times.at) > new Date())) {
      return this.showErrors([{ field: "scheduled_at", message: this.result.dataset.needTime }]);
    }
    return this.busily(async () => {
      if (await this.explain()) return this.say(byId("number-notice").dataset.again, "warning");
      const waiting = this.isPlanned ? null : await this.plannedAlready();
      return waiting ? this.offerChoice(waiting) : this.start();
    });
  }

  // The times are those of now, so they are asked for with each opening.
  async toggleLater() {
    if (this.isPlanned) {
      toggle(this.later, byId("later-field"));
      this.nameTime();
      return;
    }
    await busily(this.later, async () => {
      try {
        await this.openTimes();
      } catch (error) {
        this.warn(error);
        return;
      }
      toggle(this.later, byId("later-field"));
      this.showTimes();
    });
  }

  async openTimes() {
    const { Later } = await import("./start/later.js");
    this.times ??= new Later(byId("later-field"), {
      changed: () => this.nameTime(),
      customerZone: () => this.customerZone,
      failed: (error) => this.warn(error),
    });
    await this.times.open();
  }

  showTimes() {
    if (this.isPlanned) this.times.show();
  }

  nameTime() {
    const { later, now } = this.call.dataset;
    this.call.textContent = this.isPlanned ? later.replace("{moment}", this.times.words) : now;
    this.showWhetherToCall();
  }

  showWhoRings() {
    const hint = byId("who-rings");
    const chosen = this.line.selectedOptions[0];
    const text = chosen?.hasAttribute("data-foreign") ? hint.dataset.foreign : hint.dataset.ours;
    hint.textContent = chosen ? text.replace("{line}", chosen.textContent) : "";
  }

  // Without a line nothing can be dialled, and the note says what to do.
  showWhetherToCall() {
    const none = this.line.options.length === 0;
    this.call.disabled = none || (this.isPlanned && this.times.isLoading);
    byId("no-lines").hidden = !none;
  }

  callFromOwnPhone() {
    this.clear();
    const { plainNumber: number, result } = this;
    if (!number) return byId("to_number").focus();
    const done = frame.phone(number);
    return this.say(done ? result.dataset.own.replace("{number}", number) : result.dataset.outside);
  }

  refresh(button, name, select) {
    return busily(button, async () => {
      try {
        await (await import("./start/choices.js")).readAnew(select, name);
        this.showWhoRings();
        this.showWhetherToCall();
      } catch (error) {
        this.warn(error);
      }
    });
  }
}

export function start(root, list) {
  const form = new CallForm(root, list);
  form.listen();
  startBar();
  return form;
}
