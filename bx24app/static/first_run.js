// The first minute: four steps in a card above the start bar, each done where it stands. The server keeps how far they got.
import { fetchFragment, request, send } from "./api.js";
import { Follower } from "./follow.js";
import { createForm } from "./new_form.js";
import { Panel } from "./panels.js";
import { submitted } from "./panels/fields.js";
import { byId, letGo, toggle } from "./ui.js";

const CARD = "/desk/first-run";
const GOES_AFTER = 6000;

class FirstRun extends Panel {
  // `callForm` is the form of the start bar: it follows the test call, and rings the line that is chosen here.
  constructor(root, callForm, list) {
    super(null, root);
    Object.assign(this, { callForm, list, key: crypto.randomUUID(), strip: null, hours: null, follower: null, number: "", isOver: false });
    this.onClick({
      close: () => this.close(),
      skip: ({ dataset }) => this.mark(dataset.step, "skipped"),
      change: (button) => this.changeHours(button),
      lines: async () => {
        await this.callForm.refresh(byId("refresh-lines"), "lines", this.callForm.line);
        await this.load();
      },
    });
    this.onSubmit({
      line: (form) => this.chooseLine(form),
      hours: (form) => this.keepHours(form),
      test: (form) => this.callMe(form),
      website: (form) => this.create(form),
    });
  }

  async load() {
    this.show(await fetchFragment(CARD));
  }

  // What the server says now; the strip of a test call stays where it is.
  show(fragment) {
    if (!fragment.childElementCount || !this.root.isConnected) return this.end();
    this.body.replaceChildren(fragment);
    if (this.strip?.place.isConnected === false) this.keepStrip();
    const zone = this.find("[data-zone-name]");
    this.find("[name=to_number]").value = this.number;
    zone.textContent ||= Intl.DateTimeFormat().resolvedOptions().timeZone;
    this.watch();
    return this.find("[data-over]") && this.finish();
  }

  keepStrip() {
    const place = this.find("[data-strip-place]");
    place.append(this.strip.place);
    place.closest("details").open = true;
  }

  // The step that comes next takes the focus of the button that is gone; a call that is followed keeps it.
  focusNext() {
    (this.body.querySelector("details[open]:not(.done) > summary") ?? this.find("h2")).focus();
  }

  async mark(step, state) {
    this.show(await fetchFragment(CARD, { method: "PUT", json: { step, state } }));
    if (this.root.isConnected) this.focusNext();
  }

  async chooseLine(form) {
    const line = new FormData(form).get("default_line_id");
    const saved = await submitted(form, () => send("/settings", { method: "PATCH", json: { default_line_id: line } }));
    if (!saved) return;
    this.callForm.line.value = line;
    this.callForm.showWhoRings();
    await this.mark("line", "done");
  }

  async changeHours(button) {
    const form = button.form;
    this.hours ??= await import("./panels/hours.js");
    const editor = form.querySelector("[data-editor]");
    this.hours.start(editor.querySelector("[data-hours]"));
    form.querySelector("[data-guess]").hidden = toggle(button, editor);
    button.hidden = true;
    form.querySelector("[type=submit]").textContent = form.dataset.save;
    editor.querySelector("input").focus();
  }

  async keepHours(form) {
    const { dataset } = form;
    const isChanged = !form.querySelector("[data-editor]").hidden;
    const now = JSON.parse(dataset.hoursNow);
    const zone = now.zone || Intl.DateTimeFormat().resolvedOptions().timeZone;
    const hours = isChanged ? this.hours.read(form.querySelector("[data-hours]")) : { ...now, zone };
    if (isChanged || !("kept" in dataset)) {
      const saved = await submitted(form, () => send("/settings", { method: "PATCH", json: { hours } }));
      if (!saved) return;
    }
    await this.mark("hours", "done");
  }

  async callMe(form) {
    const json = { to_number: form.elements.to_number.value.trim(), ...(form.dataset.line ? { line_id: form.dataset.line } : {}) };
    const headers = { "Idempotency-Key": this.key };
    const callback = await submitted(form, () => send("/callbacks", { method: "POST", json, headers })
      .catch((error) => { if (error.status) this.key = crypto.randomUUID(); throw error; }));
    if (!callback) return;
    this.key = crypto.randomUUID();
    this.number = json.to_number;
    this.strip = await this.callForm.followed();
    this.strip.follow(callback, this.find("[data-strip-place]"));
    this.show(await fetchFragment(CARD, { method: "PUT", json: { step: "test", state: "done" } }));
    await this.list.lookNow();
  }

  async create(form) {
    const { settings, name, line, country } = form.dataset;
    const asked = { origin: form.querySelector("[type=url]").value.trim(), chosen: form.querySelector("select")?.value ?? "" };
    const made = await submitted(form, () => createForm({ settings: JSON.parse(settings), name, line, country, ...asked }));
    if (!made) return;
    await this.load();
    this.find('[data-step="website"]').open = true;
    this.find('[data-action="copy"]').focus();
  }

  // Whoever has pasted the line sees here that it works.
  watch() {
    if (!this.find("[data-waiting]")) {
      this.follower?.end();
      this.follower = null;
    } else if (!this.follower) {
      this.follower = new Follower(() => this.look(), this.root.querySelector("[data-connection]"));
      this.follower.lookNow();
    }
  }

  async look() {
    const fresh = await fetchFragment(CARD);
    if (fresh.querySelector("[data-waiting]")) return false;
    this.show(fresh);
    return false;
  }

  // Everything is done or skipped: the card has said so, and goes.
  async finish() {
    if (this.isOver) return;
    this.isOver = true;
    await request(CARD, { method: "DELETE" });
    this.leaving = setTimeout(() => letGo().then(() => this.end()), GOES_AFTER);
  }

  async close() {
    await request(CARD, { method: "DELETE" });
    this.end();
    document.querySelector("main h1").focus({ preventScroll: true });
  }

  end() {
    clearTimeout(this.leaving);
    this.follower?.end();
    if (this.strip && this.root.contains(this.strip.place)) this.strip.home.append(this.strip.place);
    this.root.remove();
  }
}

export async function startFirstRun(root, callForm, list) {
  const run = new FirstRun(root, callForm, list);
  await run.run(null, () => run.load());
  return run;
}
