// Keeps the list of callbacks up to date; the server renders it, rows that did not change are left alone.
import { fetchFragment, request, send, wordsFor } from "./api.js";
import { busily, byId, confirmFirst, localTimes, parse, say, toggle } from "./ui.js";

const LIVE = ["queued", "dialling", "started", "answered"];
const OUTCOMES = ["reached", "not_reached", "dial_again"];
const FAST = 1000;
const SLOWEST = 15000;

export class CallbackList {
  constructor(list) {
    Object.assign(this, { list, connection: byId("connection"), announcer: byId("announcer") });
    Object.assign(this, { etag: "", pause: FAST, timer: null, isRunning: false, isOver: false });
    this.seen = () => document.hidden || this.lookNow();
  }

  get rows() {
    return [...this.list.querySelectorAll(".callback")];
  }

  follow() {
    this.list.addEventListener("click", (event) => this.clicked(event));
    document.addEventListener("visibilitychange", this.seen);
    this.lookNow();
  }

  // Another view takes the page.
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
    if (this.isRunning || this.isOver || document.hidden) return;
    this.isRunning = true;
    clearTimeout(this.timer);
    try {
      await this.poll();
    } catch (error) {
      say(this.connection, error.status === 401 ? error.message : this.connection.dataset.offline, "warning");
      this.pause = Math.min(this.pause * 2, SLOWEST);
    } finally {
      this.isRunning = false;
      if (!document.hidden && !this.isOver) this.timer = setTimeout(() => this.tick(), this.pause);
    }
  }

  async poll() {
    const response = await request("/desk/callbacks", { headers: this.etag ? { "If-None-Match": this.etag } : {} });
    say(this.connection, "", "warning");
    if (response.status === 304) return this.waitLonger();
    this.etag = response.headers.get("ETag") ?? "";
    this.merge(parse(await response.text()));
    this.pause = FAST;
    return null;
  }

  // Nothing has changed: calls under way are looked at every second, others less and less often.
  waitLonger() {
    const isLive = this.rows.some((row) => LIVE.includes(row.dataset.state));
    this.pause = isLive ? FAST : Math.min(this.pause * 1.5, SLOWEST);
  }

  merge(fresh) {
    localTimes(fresh);
    const known = new Map(this.rows.map((row) => [row.dataset.id, row]));
    const [target, source] = [this.list.querySelector("ul.callbacks"), fresh.querySelector("ul.callbacks")];
    if (!target || !source) {
      this.list.replaceChildren(...fresh.body.childNodes);
      this.rows.forEach((row) => this.announce(row, known.get(row.dataset.id)));
      return;
    }
    const wanted = [...source.children];
    const ids = new Set(wanted.map((row) => row.dataset.id));
    known.forEach((row, id) => ids.has(id) || row.remove());
    wanted.forEach((row, position) => {
      const old = known.get(row.dataset.id);
      if (old && old.dataset.version === row.dataset.version) return;
      this.announce(row, old);
      if (old) adopt(row, old);
      else target.insertBefore(row, target.children[position] ?? null);
    });
  }

  announce(fresh, old) {
    if (!old || old.dataset.state !== fresh.dataset.state) this.announcer.textContent = fresh.dataset.announcement;
  }

  highlight(id) {
    const row = byId(`callback-${id}`);
    if (!row) return;
    row.classList.add("highlighted");
    row.scrollIntoView({ block: "center" });
    setTimeout(() => row.classList.remove("highlighted"), 4000);
  }

  callNow(id) {
    return send(`/callbacks/${id}`, { method: "PATCH", json: { scheduled_at: new Date().toISOString() } });
  }

  async act({ dataset: { id } }, action) {
    if (OUTCOMES.includes(action)) await send(`/callbacks/${id}/resolve`, { method: "POST", json: { outcome: action } });
    else if (action === "now") await this.callNow(id);
    else await send(`/callbacks/${id}/${action}`, { method: "POST" });
    await this.lookNow();
  }

  clicked(event) {
    const button = event.target.closest("button[data-action]");
    if (!button) return;
    const [row, { action }] = [button.closest(".callback"), button.dataset];
    busily(button, async () => {
      try {
        if (action === "ask") confirmFirst(button);
        else await (action === "details" ? toggleDetails(row) : this.act(row, action));
      } catch (error) {
        say(row.querySelector("[data-row-problem]"), wordsFor(error), "warning");
        if (error.id) this.highlight(error.id);
      }
    });
  }
}

function adopt(fresh, old) {
  // A row that the user works with keeps its opened details; its focus goes to the same action.
  const focused = old.contains(document.activeElement) ? document.activeElement.dataset.action : null;
  const opened = !old.querySelector("[data-details]").hidden;
  old.replaceWith(fresh);
  if (opened) toggleDetails(fresh);
  if (focused) (fresh.querySelector(`[data-action="${focused}"]`) ?? fresh.querySelector("button"))?.focus();
}

async function toggleDetails(row) {
  const details = row.querySelector("[data-details]");
  if (!toggle(row.querySelector('[data-action="details"]'), details)) return;
  try {
    details.replaceChildren(await fetchFragment(`/desk/callbacks/${row.dataset.id}`));
  } catch (error) {
    details.textContent = wordsFor(error);
  }
}
