// The hosted form: sends the request with a proof of work, says what is wrong at its field, then shows the status.
import { busily, byId, clearErrors, fieldNamed, markField, parse, say, showErrors } from "../ui.js";
import * as frame from "./frame.js";
import { ask, post, problemOf } from "./http.js";
import * as proof from "./proof.js";
import { follow } from "./status.js";
import { localise } from "./times.js";

const QUICKEST = 2500;

class RequestForm {
  constructor(form) {
    Object.assign(this, { form, send: byId("send"), note: byId("note"), bar: byId("progress") });
    this.forget();
  }

  begin() {
    this.form.noValidate = true;
    this.form.addEventListener("submit", (event) => this.submit(event));
    this.form.addEventListener("input", ({ target }) => {
      if (target.hasAttribute("aria-invalid")) markField(...fieldNamed(this.form, target.name), "");
      this.prepare().catch(() => null);
    });
    localise(document);
    if (proof.isPossible()) this.challenge = this.fetchChallenge();
    this.challenge?.catch(() => this.forget());
    frame.begin({ opened: () => this.opened() });
  }

  // It may be told late, on a slow machine: whoever types already is not taken to another field.
  opened() {
    if (document.hasFocus() && this.form.contains(document.activeElement)) return;
    (this.fields[0] ?? document.querySelector("h1"))?.focus();
  }

  // Fetched with the page: its age shows that a person has filled in the form. Worked at from the visitor's first word on, so
  // that it is done with their last one.
  async fetchChallenge() {
    const response = await ask(this.form.dataset.challenge);
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    const given = await response.json();
    return { given, since: performance.now(), lifetime: proof.lifetime(given, response.headers.get("Date")) };
  }

  prepare() {
    if (!proof.isPossible()) return Promise.resolve(null);
    this.challenge ??= this.fetchChallenge();
    this.solving ??= this.challenge.then(async ({ given, since, lifetime }) => {
      const solved = await proof.solve(given, (share) => { this.bar.value = share; });
      return { ...solved, since, until: since + lifetime };
    });
    this.solving.catch(() => this.forget());
    return this.solving;
  }

  forget() {
    this.challenge = this.solving = null;
  }

  async proven() {
    let solved = await this.prepare();
    if (solved && performance.now() > solved.until) {
      this.forget();
      solved = await this.prepare();
    }
    // The server believes nobody who is quicker than this.
    if (solved) await new Promise((resolve) => { setTimeout(resolve, solved.since + QUICKEST - performance.now()); });
    return solved;
  }

  get fields() {
    const all = [...this.form.querySelectorAll("input:not([type=hidden]), select")];
    return all.filter(({ name }) => fieldNamed(this.form, name));
  }

  missing() {
    const isEmpty = ({ type, checked, value }) => (type === "checkbox" ? !checked : !value.trim());
    const empty = this.fields.filter((field) => field.required && isEmpty(field));
    return empty.map(({ name, dataset }) => ({ field: name, message: dataset.missing }));
  }

  body(solved) {
    const values = Object.fromEntries(new FormData(this.form));
    const consent = this.form.elements.namedItem("consent");
    if (consent) values.consent = consent.checked;
    // An advertisement may add thousands of characters; a request has an end.
    values.page = (frame.page() || values.page || "").slice(0, 8000);
    if (!values.scheduled_at) delete values.scheduled_at;
    if (solved) {
      values.altcha = solved.payload;
      delete values.token;
    }
    return values;
  }

  // The times on offer have changed since the page was opened: the server writes them anew.
  async renewTimes() {
    const fresh = parse(await (await ask(location.pathname + location.search)).text());
    for (const id of ["waiting", "when"]) {
      const [old, now] = [byId(id), fresh.getElementById(id)];
      if (old && now) old.replaceWith(now);
    }
    localise(this.form);
  }

  async refused(response) {
    const problem = await problemOf(response);
    // A proof is good for one request.
    this.forget();
    if (problem.code === "outside_hours") await this.renewTimes().catch(() => null);
    if (!showErrors(this.form, problem.errors ?? [])) say(this.note, problem.detail ?? this.form.dataset.failed, "failure");
  }

  submit(event) {
    event.preventDefault();
    if (this.send.disabled) return;
    clearErrors(this.form);
    say(this.note, "");
    if (showErrors(this.form, this.missing())) return;
    busily(this.send, () => this.ask());
  }

  async ask() {
    this.send.textContent = this.send.dataset.busy;
    this.bar.hidden = !proof.isPossible();
    try {
      const response = await post(this.form.action, this.body(await this.proven()));
      if (response.ok) await this.accepted(await response.json());
      else await this.refused(response);
    } catch {
      // The key in the form makes a repeat harmless.
      say(this.note, this.form.dataset.offline, "warning");
    } finally {
      this.send.textContent = this.send.dataset.idle;
      this.bar.hidden = true;
    }
  }

  // The notices concern what was typed (an extension is not dialled), so they stand beside the status and not in it.
  async accepted({ status_url: url, notices = [] }) {
    const main = document.querySelector("main");
    await follow(main, new URL(url, location.href).pathname);
    if (notices.length) main.append(Object.assign(document.createElement("p"), { className: "note", textContent: notices.join(" ") }));
  }
}

export function start() {
  new RequestForm(byId("request")).begin();
}
