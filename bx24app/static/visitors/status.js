// Keeps a request's status up to date while somebody looks, and sends what the visitor decides.
import { busily, byId, letGo, parse, say } from "../ui.js";
import { ask, post, problemOf } from "./http.js";
import { localise } from "./times.js";

const [FAST, SLOWEST] = [1000, 30000];
const [PAGE, JSON_ONLY] = [{ Accept: "text/html" }, { Accept: "application/json" }];

class Status {
  constructor(place, url) {
    Object.assign(this, { place, url, seen: null, pause: FAST, timer: null });
    this.isGuest = !place.dataset.statusUrl;
    place.addEventListener("submit", (event) => this.decide(event));
    // Inside the form's page another request begins with that page anew, in its frame and language.
    place.addEventListener("click", (event) => {
      if (!this.isGuest || event.target.id !== "again") return;
      event.preventDefault();
      location.reload();
    });
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.look(true); });
  }

  // The server writes the status; where the focus was it stays.
  async show() {
    const response = await ask(this.url, { headers: PAGE });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    const fresh = parse(await response.text()).getElementById("status");
    await letGo();
    const old = this.place.querySelector("#status");
    const focused = old?.contains(document.activeElement) ? document.activeElement : null;
    localise(fresh);
    for (const link of fresh.querySelectorAll("[data-elsewhere]")) link.hidden = !this.isGuest;
    if (old) this.replace(old, fresh);
    else this.place.replaceChildren(fresh);
    if (focused && !focused.isConnected) (byId(focused.id) ?? fresh.querySelector("h1")).focus();
    return fresh;
  }

  // Word by word, so that a screen reader is told only what has changed: the live region itself stays.
  replace(old, fresh) {
    const [before, after] = [old.querySelector("[data-live]"), fresh.querySelector("[data-live]")];
    if (before.textContent !== after.textContent) before.textContent = after.textContent;
    before.className = after.className;
    after.replaceWith(before);
    // What the visitor is choosing meanwhile stays as it is.
    const [open, other] = [old.querySelector("details[open]"), fresh.querySelector("details")];
    if (open && other) other.replaceWith(open);
    old.replaceWith(fresh);
  }

  async look(soon = false) {
    clearTimeout(this.timer);
    if (soon) this.pause = FAST;
    try {
      const now = await (await ask(this.url, { headers: JSON_ONLY })).text();
      // The page may have been written before the first look.
      const shown = this.seen ?? JSON.stringify(this.place.querySelector("[data-live]").textContent);
      const current = this.seen === null ? JSON.stringify(JSON.parse(now).label) : now;
      if (shown !== current) {
        await this.show();
        this.pause = FAST;
      }
      this.seen = now;
      this.offline(false);
    } catch {
      this.offline(true);
    }
    this.pause = Math.min(this.pause * 1.3, SLOWEST);
    if (!document.hidden) this.timer = setTimeout(() => this.look(), this.pause);
  }

  offline(lost) {
    const note = this.place.querySelector("[data-offline]");
    if (note) note.hidden = !lost;
  }

  decide(event) {
    event.preventDefault();
    const [form, problem] = [event.target, this.place.querySelector("[data-problem]")];
    busily(form.querySelector("button"), async () => {
      try {
        const response = await post(form.action, Object.fromEntries(new FormData(form)), JSON_ONLY);
        const refused = response.ok ? "" : (await problemOf(response)).detail ?? `HTTP ${response.status}`;
        const shown = await this.show();
        say(shown.querySelector("[data-problem]"), refused, "failure");
        shown.querySelector("h1").focus();
        this.look(true);
      } catch {
        say(problem, problem.dataset.lost, "failure");
      }
    });
  }
}

// Shows the status of a request inside `place` and follows it; resolves once it is there.
export async function follow(place, url) {
  const status = new Status(place, url);
  if (place.querySelector("#status")) localise(place);
  else (await status.show()).querySelector("h1").focus();
  status.look(true);
}
