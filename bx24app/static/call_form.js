// The form that starts callbacks.
import { Problem, send, wordsFor } from "./api.js";
import * as frame from "./frame.js";
import { busily, byId, clearErrors, fieldNamed, localTime, say, showErrors, toggle } from "./ui.js";

// A number in national form is recognised by its end: 030 901820 is +49 30 901820.
const sameNumber = (e164, typed) => e164.endsWith(typed.replace(/\D/g, "").replace(/^0+/, ""));

class CallForm {
  constructor(root, list) {
    Object.assign(this, { root, list, form: byId("call-form"), call: byId("call"), result: byId("result") });
    Object.assign(this, { line: byId("line_id"), known: byId("known-number"), later: byId("later") });
    this.renewKey();
    // What stands in the field from the beginning is explained on the page already.
    Object.assign(this, { explained: byId("to_number").value.trim(), meant: null });
  }

  listen() {
    this.form.addEventListener("submit", (event) => this.submit(event));
    byId("planned-now").addEventListener("click", ({ target }) => this.busily(() => this.bringForward(target.dataset.id)));
    byId("planned-both").addEventListener("click", () => this.busily(() => this.start()));
    this.later.addEventListener("click", () => this.toggleLater());
    this.line.addEventListener("change", () => this.showWhoRings());
    this.known?.addEventListener("change", () => {
      byId("number-field").hidden = Boolean(this.known.value);
      if (!this.known.value) byId("to_number").focus();
    });
    byId("to_number").addEventListener("change", () => this.explain().catch((error) => this.warn(error)));
    byId("own-phone").addEventListener("click", () => this.callFromOwnPhone());
    byId("refresh-lines").addEventListener("click", ({ currentTarget }) => this.refresh(currentTarget, "lines", this.line));
    byId("refresh-voices").addEventListener("click", ({ currentTarget }) => this.refresh(currentTarget, "voices", byId("voice_id")));
    this.showWhoRings();
    this.showWhetherToCall();
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

  say(text, kind) {
    say(this.result, text, kind);
  }

  clear() {
    clearErrors(this.form);
    this.say("");
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
    if (this.isPlanned) asked.scheduled_at = new Date(byId("scheduled_at").value).toISOString();
    return asked;
  }

  warn(error) {
    this.say(wordsFor(error, this.result.dataset.offline), "warning");
  }

  failed(error) {
    if (!(error instanceof Problem)) return this.warn(error);
    // Answered, so the next press is a new intention.
    this.renewKey();
    const duplicate = error.code === "duplicate_open_callback";
    if (duplicate || !this.showErrors(error.errors)) this.say(error.message, "failure");
    return duplicate ? this.list.highlight(error.id) : null;
  }

  busily(work) {
    return busily(this.call, () => work().catch((error) => this.failed(error)));
  }

  // What to know about a typed number: another country, an extension that is not dialled. False when it was told before.
  async explain() {
    const typed = this.known?.value ? "" : byId("to_number").value.trim();
    if (typed === this.explained) return false;
    const nothing = { number: null, notices: [] };
    const { number, display, notices } = typed ? await send("/numbers/read", { method: "POST", json: { number: typed } }) : nothing;
    Object.assign(this, { explained: typed, meant: number });
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
    await send("/callbacks", { method: "POST", json: this.body(), headers: { "Idempotency-Key": this.key } });
    this.renewKey();
    this.say(this.isPlanned ? this.result.dataset.planned : this.result.dataset.accepted, "success");
    if (this.isPlanned) this.toggleLater();
    await this.list.lookNow();
  }

  async bringForward(id) {
    byId("planned-choice").hidden = true;
    await this.list.callNow(id);
    this.say(this.result.dataset.accepted, "success");
    await this.list.lookNow();
  }

  submit(event) {
    event.preventDefault();
    if (this.call.disabled) return null;
    this.clear();
    const time = byId("scheduled_at").value;
    if (this.isPlanned && !(new Date(time) > new Date())) {
      return this.showErrors([{ field: "scheduled_at", message: this.result.dataset.needTime }]);
    }
    return this.busily(async () => {
      if (await this.explain()) return this.say(byId("number-notice").dataset.again, "warning");
      const waiting = this.isPlanned ? null : await this.plannedAlready();
      return waiting ? this.offerChoice(waiting) : this.start();
    });
  }

  toggleLater() {
    const isOpen = toggle(this.later, byId("later-field"));
    this.call.textContent = isOpen ? this.call.dataset.later : this.call.dataset.now;
    if (isOpen) byId("scheduled_at").focus();
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
    this.call.disabled = none;
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
        fill(select, (await send(`/${name}?refresh=1`))[name]);
        this.showWhoRings();
        this.showWhetherToCall();
      } catch (error) {
        this.warn(error);
      }
    });
  }
}

// Writes the choices anew; what was chosen stays so, and a choice of nothing stays in front.
function fill(select, items) {
  const chosen = select.value;
  const options = [...select.options];
  const foreign = new Set(options.filter((option) => option.hasAttribute("data-foreign")).map(({ value }) => value));
  select.replaceChildren(...options.filter(({ value }) => !value), ...items.map(({ id, name }) => {
    const option = new Option(name, id, false, id === chosen);
    option.toggleAttribute("data-foreign", foreign.has(id));
    return option;
  }));
  select.disabled = select.options.length === 0;
}

export function start(root, list) {
  new CallForm(root, list).listen();
}
