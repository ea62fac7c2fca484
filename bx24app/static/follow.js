// Looks again and again at what changes by itself: every second while a call is under way, else less and less often, and
// never while the page is hidden.
import { say, timeFormat } from "./ui.js";

const FAST = 1000;
const SLOWEST = 15000;

export const LIVE = ["queued", "dialling", "started", "answered"];

export class Follower {
  // `look` fetches and shows what is new, and tells whether a call is under way; `connection` is the note about its loss.
  constructor(look, connection) {
    Object.assign(this, { look, connection, pause: FAST, timer: null, isRunning: false, isOver: false, lost: "", updatedAt: new Date() });
    this.seen = () => document.hidden || this.lookNow();
    document.addEventListener("visibilitychange", this.seen);
  }

  end() {
    this.isOver = true;
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.seen);
  }

  lookNow() {
    this.pause = FAST;
    return this.tick();
  }

  async tick() {
    this.isAskedAgain = this.isRunning;
    if (this.isRunning || this.isOver || document.hidden) return;
    this.isRunning = true;
    clearTimeout(this.timer);
    try {
      this.pause = (await this.look()) ? FAST : Math.min(this.pause * 1.5, SLOWEST);
      this.updatedAt = new Date();
      this.lost = "";
      say(this.connection, "", "warning");
    } catch (error) {
      this.sayLost(error);
      this.pause = Math.min(this.pause * 2, SLOWEST);
    } finally {
      this.isRunning = false;
      if (!document.hidden && !this.isOver) this.timer = setTimeout(() => this.tick(), this.isAskedAgain ? 0 : this.pause);
    }
  }

  sayLost(error) {
    const { offline, since = "", again = "" } = this.connection.dataset;
    const at = since.replace("{time}", timeFormat({ timeStyle: "medium" }).format(this.updatedAt));
    const words = error.status ? error.message : `${offline} ${at}`.trim();
    // What is said already stays, with the focus that may be in it.
    if (words === this.lost) return;
    this.lost = words;
    say(this.connection, words, "warning");
    if (again) this.connection.append(this.tryNow(again));
  }

  tryNow(words) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: words });
    button.addEventListener("click", () => this.lookNow());
    return button;
  }
}
