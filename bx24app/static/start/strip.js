// What becomes of the callback that was just started here: Accepted, Line rings, Picked up, Ended. It asks for that one
// callback each second while something may happen to it.
import { Problem, send, wordsFor } from "../api.js";
import { busily, byId, say, timeFormat } from "../ui.js";

const PAUSE = 1000;
const SLOWEST = 15000;
const LIVE = ["queued", "dialling", "started", "answered", "unknown"];
// The step that a state stands for; every other state is the last one.
const STEPS = { queued: 0, dialling: 0, started: 1, answered: 2 };
const LAST = 3;

export class Strip {
  constructor() {
    Object.assign(this, { place: byId("strip"), problem: byId("strip-problem"), cancel: byId("strip-cancel") });
    Object.assign(this, { id: "", reached: 0, pause: PAUSE, timer: null });
    this.home = this.place.parentElement;
    this.format = timeFormat({ timeStyle: "medium" });
    this.cancel.addEventListener("click", () => busily(this.cancel, () => this.withdraw()));
    document.addEventListener("visibilitychange", () => document.hidden || this.look(this.id));
  }

  // It stands beside what has started the call, else at its own place.
  follow(callback, beside = this.home) {
    beside.append(this.place);
    Object.assign(this, { id: callback.id, reached: 0, pause: PAUSE });
    say(this.problem, "");
    this.show(callback);
    return this.look(this.id);
  }

  // An answer about a callback that is not followed any more changes nothing; another view ends it all.
  async look(id) {
    clearTimeout(this.timer);
    if (!id || id !== this.id || document.hidden || !this.place.isConnected) return;
    try {
      const callback = await send(`/callbacks/${id}`);
      if (id !== this.id) return;
      say(this.problem, "");
      this.pause = PAUSE;
      this.show(callback);
      if (!LIVE.includes(callback.state)) this.id = "";
    } catch (error) {
      if (id !== this.id) return;
      say(this.problem, wordsFor(error, this.place.dataset.offline), "warning");
      this.pause = Math.min(this.pause * 2, SLOWEST);
      if (error instanceof Problem && error.status < 500 && error.status !== 429) this.id = "";
    }
    if (this.id) this.timer = setTimeout(() => this.look(id), this.pause);
  }

  show({ state, label, detail, to_number: number, updated_at: at, attempts }) {
    const now = STEPS[state] ?? LAST;
    // Of a call that is over: a line has rung if the portal has named its call, whether somebody picked up was seen.
    if (now < LAST) this.reached = Math.max(this.reached, now);
    else if (state === "completed") this.reached = 2;
    else if (attempts.at(-1)?.call_id) this.reached = Math.max(this.reached, 1);
    [...this.place.querySelectorAll(".steps > li")].forEach((item, step) => {
      item.classList.toggle("done", step < now ? step <= this.reached : step === LAST && state === "completed");
      item.classList.toggle("live", step === now && now < LAST);
      if (step === now) item.setAttribute("aria-current", "step");
      else item.removeAttribute("aria-current");
    });
    byId("strip-number").textContent = number;
    byId("strip-label").textContent = label ?? "";
    byId("strip-at").textContent = this.format.format(new Date(at));
    byId("strip-detail").textContent = detail ?? "";
    this.cancel.hidden = state !== "queued";
    this.place.hidden = false;
  }

  async withdraw() {
    const { id } = this;
    try {
      await send(`/callbacks/${id}/cancel`, { method: "POST" });
      await this.look(id);
    } catch (error) {
      await this.look(id);
      say(this.problem, wordsFor(error, this.place.dataset.offline), "warning");
    }
  }
}
