// Keeps the list of callbacks up to date; the server renders it. What a change needs comes with the first one
// (list/changes.js), what only some presses need (menus, filters, selections) with the first of them (list/tools.js).
import { fetchChange, wordsFor } from "./api.js";
import { act } from "./callback_actions.js";
import { LIVE, Follower } from "./follow.js";
import { busily, byId, letGo, localTimes, say, timeFormat } from "./ui.js";

const DIRECT = ["cancel", "now", "retry", "reached", "not_reached", "dial_again"];
const DAY = 86_400_000;

// Today's times to the second, other days with their date; the whole of it, with the zone, in the title.
export function showTimes(root) {
  localTimes(root);
  const day = timeFormat({ dateStyle: "short" });
  const today = day.format(new Date());
  const formats = [{ timeStyle: "medium" }, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" }].map(timeFormat);
  const whole = timeFormat({ dateStyle: "long", timeStyle: "long" });
  for (const time of root.querySelectorAll("time.when")) {
    const at = new Date(time.dateTime);
    time.textContent = formats[day.format(at) === today ? 0 : 1].format(at);
    time.title = whole.format(at);
  }
  const days = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: "auto" });
  const shorts = [{}, { weekday: "short" }, { day: "numeric", month: "short" }].map((day) => timeFormat({ ...day, hour: "2-digit", minute: "2-digit" }));
  for (const time of root.querySelectorAll("time.short")) {
    const at = new Date(time.dateTime);
    const isToday = day.format(at) === today;
    const written = shorts[isToday ? 0 : Math.abs(at - Date.now()) < 6 * DAY ? 1 : 2].format(at);
    time.textContent = isToday && "today" in time.dataset ? `${days.format(0, "day")} ${written}` : written;
    time.title = whole.format(at);
  }
  showAges(root);
}

function showAges(root) {
  const words = new Intl.RelativeTimeFormat(document.documentElement.lang, { style: "short", numeric: "auto" });
  for (const place of root.querySelectorAll("[data-ago]")) {
    const minutes = Math.round((Date.now() - new Date(place.previousElementSibling.dateTime)) / 60_000);
    if (minutes * 60_000 > DAY) continue;
    place.textContent = minutes < 60 ? words.format(-minutes, "minute") : words.format(-Math.round(minutes / 60), "hour");
  }
}

// What was pressed stands in a menu of the row, or below it: neither is needed any more.
function closeAround(row) {
  if (row.nextElementSibling?.matches(".under")) row.nextElementSibling.remove();
  row.querySelector("[data-menu]")?.remove();
  row.querySelector('[aria-expanded="true"]')?.setAttribute("aria-expanded", "false");
}

export class CallbackList {
  // `view`: with filters and pages in the address; `openCallback` shows one where the page has no views.
  constructor(list, { view = null, openCallback = null } = {}) {
    Object.assign(this, { list, view, openCallback, announcer: byId("announcer"), etag: "", hasActed: false, opening: null });
    this.etag = this.part?.dataset.etag ?? "";
    this.root = list.closest("[data-list]") ?? list;
    this.connection = byId("connection");
    this.follower = new Follower(() => this.poll(), this.connection);
  }

  get rows() {
    return [...this.list.querySelectorAll(".callback")];
  }

  get part() {
    return this.list.querySelector('[data-part="rows"]');
  }

  // What is shown, or was chosen and is on its way.
  get wanted() {
    return this.opening ?? this.part.dataset;
  }

  follow() {
    for (const name of ["click", "change", "input", "submit", "keydown"]) {
      this.root.addEventListener(name, (event) => this.handle(event));
    }
    if (this.part) showTimes(this.list);
    this.showAttention();
    this.lookNow();
  }

  // Another view takes the page.
  end() {
    this.follower.end();
  }

  lookNow() {
    return this.follower.lookNow();
  }

  // Tells whether to look again soon: something has changed, or a call is under way.
  async poll() {
    const { part } = this;
    const { filters, showing } = part.dataset;
    const change = await fetchChange(`/desk/callbacks?${filters}&${showing}`, this.etag);
    const { merge } = change ? await import("./list/changes.js") : {};
    await letGo();
    if (this.follower.isOver) return false;
    showAges(this.list);
    // Another list was opened meanwhile, or is on its way.
    if (this.opening || part !== this.part) return true;
    if (!change) return this.rows.some((row) => LIVE.includes(row.dataset.state));
    this.etag = change.etag;
    merge(this, change.page);
    return true;
  }

  showAttention() {
    if (this.view && this.part) this.view.count(this.part.dataset.attention);
  }

  announce(fresh, old) {
    if (!old || old.dataset.state !== fresh.dataset.state) this.announcer.textContent = fresh.dataset.announcement;
  }

  // False: it is not among the rows.
  highlight(id) {
    const row = byId(`callback-${id}`);
    if (!row) return false;
    row.classList.add("highlighted");
    row.scrollIntoView({ block: "center" });
    setTimeout(() => row.classList.remove("highlighted"), 4000);
    return true;
  }

  async act({ dataset: { id } }, action) {
    await act(id, action);
    this.hasActed = true;
    await this.lookNow();
  }

  async tools() {
    this.made ??= import("./list/tools.js").then(({ makeTools }) => makeTools(this));
    return this.made;
  }

  rowOf(element) {
    const row = element.closest("tr, .callback");
    return row?.classList.contains("under") ? row.previousElementSibling : row;
  }

  // What a press means; everything but the plain actions of a row is for the tools.
  handle(event) {
    const button = event.type === "click" ? event.target.closest("[data-action], [data-query], [data-page], [data-open]") : null;
    if (event.type === "click" && !button) return null;
    const action = button?.dataset.action;
    if (button?.matches("a[data-query]") || event.type === "submit" || (button?.dataset.open && this.openCallback)) event.preventDefault();
    if (button?.dataset.open) return this.openCallback?.(button.dataset.open);
    if (!DIRECT.includes(action)) return this.tools().then((tools) => tools.handle(event, button));
    return this.press(button, this.rowOf(button), action);
  }

  press(button, row, action) {
    return busily(button, async () => {
      try {
        closeAround(row);
        await this.act(row, action);
      } catch (error) {
        say(row.querySelector("[data-row-problem]"), wordsFor(error), "warning");
        if (error.id) this.highlight(error.id);
      }
    });
  }
}
