// Follows the address behind the hash (#/settings/people): fetches the view from the server, puts it into the page's main
// element, and lets the script of its section begin. The page's own address never changes.
import { Problem, fetchFragment, wordsFor } from "./api.js";
import * as frame from "./frame.js";
import { skeleton } from "./ui.js";

const SKELETON_AFTER = 300;
const LOST = [403, 404];

// What a section's script works with: where the view stands, its address, the path it was come to from, and ways to others.
class View {
  constructor(router, root, path, query) {
    Object.assign(this, { router, root, path, query, from: router.from, section: path.split("/")[0], given: router.takeGiven(path) });
  }

  // Shows another view; with `replaces` it takes this one's place in the history. `given` is handed to that view alone, and
  // stands in no address: those are kept and logged.
  go(path, { replaces = false, given = null } = {}) {
    Object.assign(this.router, { given: { path, value: given } });
    return this.router.go(path, { replaces });
  }

  // Says what to filter in the address, without fetching anything.
  setQuery(query) {
    this.query = new URLSearchParams(query);
    this.router.write(`#/${this.path}${this.query.size ? `?${this.query}` : ""}`);
  }

  // Another address for what is shown, as of a tab inside it; nothing is fetched.
  rename(path) {
    Object.assign(this, { path });
    this.router.write(`#/${path}`);
    this.root.dataset.path = path;
    this.router.keep(path);
  }

  // `asks` is told of a wish to leave the view, and keeps it when it answers true: it then asks the person.
  holdWhile(asks) {
    this.router.holds = asks;
  }

  // The view as the server renders it now; the page's stays as it is.
  fragment(query = "") {
    return fetchFragment(`/desk/view/${this.path}${query}`);
  }

  // A number that asks for attention, on the section's tab.
  count(number) {
    const counter = document.querySelector(`[data-section="${this.section}"] [data-counter]`);
    if (!counter) return;
    counter.textContent = number === "0" ? "" : number;
    counter.hidden = !counter.textContent;
  }
}

// "#/websites/abc?x=1" in its parts; null for what is no address of a view, such as the target of a skip link.
function parse(hash) {
  if (!/^#(\/[\w-]+)+(\?|$)/.test(hash)) return null;
  const [path, query = ""] = hash.slice(2).split("?");
  return { path, query: new URLSearchParams(query) };
}

const scriptOf = (path) => import(`./sections/${path.split("/")[0]}.js`);

class Router {
  constructor(main) {
    Object.assign(this, { main, first: main.dataset.path, shown: location.hash, turn: 0, leave: null, holds: null, given: null, from: "" });
  }

  takeGiven(path) {
    const { given } = this;
    this.given = null;
    return given?.path === path ? given.value : null;
  }

  start() {
    window.addEventListener("hashchange", () => this.follow());
    const wanted = parse(location.hash);
    // The server has rendered the first view without what stands behind its path here, as after a reload.
    if (wanted && (wanted.path !== this.first || wanted.query.size)) this.open(wanted.path, wanted.query);
    else {
      const query = new URLSearchParams();
      this.begin(this.first, query).catch((error) => this.fail(error, this.first, query));
    }
  }

  // Another address for what is shown; but not for a link that was pressed a moment ago, of which the browser has not told yet.
  write(hash) {
    if (parse(location.hash) && location.hash !== this.shown) return;
    history.replaceState(null, "", (this.shown = hash));
  }

  follow() {
    const wanted = location.hash ? parse(location.hash) : { path: this.first, query: new URLSearchParams() };
    if (!wanted || location.hash === this.shown) return null;
    if (this.holds?.(location.hash || "#")) {
      history.pushState(null, "", this.shown || `#/${this.main.dataset.path}`);
      return null;
    }
    return this.open(wanted.path, wanted.query);
  }

  go(path, { replaces }) {
    const hash = `#/${path}`;
    if (!replaces) location.hash = hash;
    else history.replaceState(null, "", hash);
    return replaces ? this.follow() : null;
  }

  async open(path, query) {
    const mine = ++this.turn;
    this.from = parse(this.shown)?.path ?? this.first;
    this.shown = location.hash;
    this.end();
    const waits = setTimeout(() => this.main.replaceChildren(skeleton()), SKELETON_AFTER);
    try {
      const search = query.size ? `?${query}` : "";
      const view = await fetchFragment(`/desk/view/${path}${search}`);
      // It is shown once its scripts are here: what somebody typed or pressed before would be lost.
      await (await scriptOf(path)).fetchScripts?.(view);
      clearTimeout(waits);
      if (mine !== this.turn) return;
      this.show(view, path);
      await this.begin(path, query);
    } catch (error) {
      if (mine === this.turn) this.fail(error, path, query);
    } finally {
      clearTimeout(waits);
    }
  }

  show(content, path) {
    this.main.replaceChildren(content);
    const section = path.split("/")[0];
    for (const link of document.querySelectorAll("[data-section]")) {
      if (link.dataset.section === section) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    this.main.querySelector("h1")?.focus({ preventScroll: true });
    window.scrollTo(0, 0);
    frame.scrollToTop();
  }

  // Nothing that somebody may see: the first view, with the reason. No connection: the reason, and another try.
  async fail(error, path, query) {
    if (error instanceof Problem && LOST.includes(error.status) && path !== "callbacks") {
      await this.go("callbacks", { replaces: true });
      return this.main.prepend(this.note(this.main.dataset.lost));
    }
    const again = Object.assign(document.createElement("button"), { type: "button", textContent: this.main.dataset.again });
    again.addEventListener("click", () => this.open(path, query));
    const note = this.note(wordsFor(error));
    note.append(again);
    this.main.inert = false;
    return this.main.replaceChildren(note);
  }

  note(words) {
    const note = Object.assign(document.createElement("p"), { className: "note warning" });
    note.setAttribute("role", "alert");
    note.append(Object.assign(document.createElement("span"), { textContent: words }));
    return note;
  }

  async begin(path, query) {
    const mine = this.turn;
    const view = new View(this, this.main, path, query);
    const { show } = await scriptOf(path);
    if (mine !== this.turn) return;
    this.leave = (await show(view)) ?? null;
    this.main.dataset.path = path;
    this.main.inert = false;
    if (mine) this.keep(path);
  }

  // The next opening begins with the view that somebody went to.
  async keep(view) {
    const { keepDesk } = await import("./left_desk.js");
    return keepDesk({ view });
  }

  end() {
    this.leave?.();
    this.leave = this.holds = null;
  }
}

export function start(main) {
  new Router(main).start();
}
