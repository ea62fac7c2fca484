// What a list does beside keeping itself up to date: menus, questions under a row, filters, pages, selections, files, keys.
import { Problem, fetchFragment, request, wordsFor } from "../api.js";
import { filtersOf, keepDesk } from "../left_desk.js";
import { busily, say } from "../ui.js";
import { open } from "./changes.js";
import { Menu } from "./menu.js";
import { Selection } from "./selection.js";

const SEARCHES_AFTER = 400;
// Some two minutes.
const FILE_WAITS = 24;

class Tools {
  // `templates`: what is put beside rows, as the server writes it.
  constructor(list, templates) {
    Object.assign(this, { list, templates, root: list.root, menu: new Menu(this), selection: new Selection(this), passed: [], timer: null });
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  get query() {
    return new URLSearchParams(this.list.wanted.filters);
  }

  template(name) {
    return this.templates.querySelector(`[data-template="${name}"]`).content.firstElementChild.cloneNode(true);
  }

  // Runs what was pressed and says what went wrong beside the list.
  async attempt(control, work) {
    const tried = async () => {
      const problem = this.find("[data-list-problem]");
      if (problem) say(problem, "");
      try {
        await work();
      } catch (error) {
        if (!(error instanceof Problem) && !(error instanceof TypeError)) throw error;
        say(problem ?? this.list.connection, wordsFor(error), "failure");
      }
    };
    return control && "disabled" in control ? busily(control, tried) : tried();
  }

  handle(event, button) {
    if (event.type === "click") return this.click(button);
    if (event.type === "keydown") return this.key(event);
    if (event.type === "submit") return this.submit(event.target);
    return this.change(event);
  }

  click(button) {
    const { action, query, page } = button.dataset;
    if (query !== undefined) return this.attempt(null, () => this.open(query));
    if (page) return this.attempt(button, () => this.turn(page, button.dataset.cursor));
    const row = this.list.rowOf(button);
    const known = {
      ask: () => this.under(button, "outcomes"),
      close: () => this.closeUnder(row),
      menu: () => this.menu.toggle(button, row),
      "more-quick": () => button.setAttribute("aria-expanded", String(button.ariaExpanded !== "true")),
      select: () => this.selection.offer(button),
      filter: () => this.attempt(button, () => this.toggleFilter(button)),
      columns: () => this.toggleColumns(button),
      whole: () => this.attempt(button, () => this.open(this.query, { whole: "1" })),
      export: () => this.attempt(button, () => this.save()),
      "save-filter": () => this.attempt(button, () => this.saveFilter(button)),
      "remove-filter": () => this.attempt(button, () => this.removeFilter(button)),
    };
    if (known[action]) return known[action]();
    if (button.closest("[data-menu]")) return this.menu.choose(button, row);
    return this.selection.press(button, row);
  }

  change(event) {
    const { target } = event;
    if (target.matches("[name=q]")) return this.searchSoon(target);
    if (event.type !== "change") return null;
    if (target.matches("[data-pick], [data-pick-all]")) return this.selection.changed(target);
    if (target.matches("[data-size]")) return this.attempt(null, () => this.open(this.query, { limit: target.value }));
    if (target.closest("[data-columns-place]")) return this.attempt(null, () => this.open(this.query, { columns: this.columns() }));
    if (target.closest("[data-filter-form]") && !["filter_name", "shared"].includes(target.name)) return this.attempt(null, () => this.filter(target.closest("form")));
    return null;
  }

  submit(form) {
    if (form.matches("[data-search]")) return this.attempt(null, () => this.search(form.elements.q));
    if (form.matches("[data-move]")) return this.selection.move(form);
    return null;
  }

  // Begins at the first page.
  async open(filters, options) {
    this.passed = [];
    await open(this.list, String(filters), options);
    const field = this.find("[name=q]");
    if (field && field !== document.activeElement) field.value = this.query.get("q") ?? "";
  }

  opened() {
    this.selection.show();
    if (!this.list.view) return;
    const showing = new URLSearchParams(this.list.part.dataset.showing);
    const columns = showing.get("columns")?.split(",") ?? [];
    keepDesk({ view: this.list.view.path, filters: filtersOf(this.query), page_size: Number(showing.get("limit")), columns });
  }

  async turn(way, cursor) {
    const at = new URLSearchParams(this.list.part.dataset.showing).get("cursor") ?? "";
    if (way === "older") this.passed.push(at);
    await open(this.list, String(this.query), { cursor: way === "older" ? cursor : this.passed.pop() ?? "" });
  }

  searchSoon(field) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.attempt(null, () => this.search(field)), SEARCHES_AFTER);
  }

  async search(field) {
    clearTimeout(this.timer);
    const [query, wanted] = [this.query, field.value.trim()];
    if ((query.get("q") ?? "") === wanted) return;
    if (wanted) query.set("q", wanted);
    else query.delete("q");
    // Whoever begins to search means all of them.
    if (wanted && !this.query.get("q")) query.set("quick", "all");
    await this.open(query);
  }

  toggle(button, part) {
    part.hidden = !part.hidden;
    button.setAttribute("aria-expanded", String(!part.hidden));
    return !part.hidden;
  }

  toggleColumns(button) {
    const place = this.find("[data-columns-place]");
    if (!this.toggle(button, place)) return;
    const shown = new Set([...this.root.querySelectorAll("th[scope=col]")].map((head) => head.className.slice(2)));
    place.replaceChildren(this.template("columns"));
    place.querySelectorAll("input").forEach((box) => { box.checked = shown.has(box.value); });
  }

  async toggleFilter(button) {
    const place = this.find("[data-filter-place]");
    if (!this.toggle(button, place)) return;
    await this.loadFilter(place);
    place.querySelector("select, input")?.focus();
  }

  async loadFilter(place = this.find("[data-filter-place]")) {
    place.replaceChildren(await fetchFragment(`/desk/callbacks/filter?${this.query}`));
  }

  filter(form) {
    const [chosen, query] = [new FormData(form), this.query];
    const states = chosen.getAll("state").join(",");
    const isBetween = chosen.get("period") === "between";
    form.querySelectorAll("[data-days]").forEach((field) => { field.hidden = !isBetween; });
    const values = { ...Object.fromEntries(chosen), state: states };
    if (!isBetween) Object.assign(values, { first: "", last: "" });
    for (const name of ["state", "period", "first", "last", "source", "form_key", "line_id", "requested_by", "several_attempts"]) {
      if (values[name]) query.set(name, values[name]);
      else query.delete(name);
    }
    // Whoever chooses a period or a state does not mean today's alone.
    if (query.size > 1 && query.get("quick") === "today") query.set("quick", "all");
    return this.open(query);
  }

  columns() {
    return [...this.root.querySelectorAll("[data-columns-place] input:checked")].map((box) => box.value).join(",") || "state";
  }

  // The ticket is in a header, so the browser cannot fetch the file by itself.
  async save(query = this.list.part.dataset.file) {
    const response = await this.fileOf(query);
    if (!response) return;
    const url = URL.createObjectURL(await response.blob());
    Object.assign(document.createElement("a"), { href: url, download: "callbacks.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }

  // Where the files of others are being written, it waits for its turn, and says so.
  async fileOf(query) {
    for (let waits = 0; !this.list.follower.isOver; waits += 1) {
      try {
        const response = await request(`/api/v1/callbacks.csv?${query}`);
        if (waits) say(this.find("[data-list-problem]"), "");
        return response;
      } catch (error) {
        if (!(error instanceof Problem && error.status === 429 && error.retryAfter) || waits === FILE_WAITS) throw error;
        say(this.find("[data-list-problem]"), this.root.dataset.fileWaits);
        await new Promise((goOn) => { setTimeout(goOn, error.retryAfter * 1000); });
      }
    }
    return null;
  }

  async saveFilter(button) {
    const form = button.closest("form");
    const json = { name: form.elements.filter_name.value, filters: filtersOf(this.query), is_shared: Boolean(form.elements.shared?.checked) };
    await request("/api/v1/me/filters", { method: "POST", json });
    await this.loadFilter();
  }

  async removeFilter(button) {
    await request(`/api/v1/me/filters/${button.dataset.id}`, { method: "DELETE" });
    await this.loadFilter();
  }

  // Unfolds something below a row, with the focus in it.
  under(button, name) {
    const row = this.list.rowOf(button);
    const [line, cell] = [document.createElement("tr"), document.createElement("td")];
    this.closeUnder(row);
    line.className = "under";
    cell.colSpan = row.children.length;
    cell.append(this.template(name));
    line.append(cell);
    row.after(line);
    line.querySelector("input, button").focus();
    return line;
  }

  closeUnder(row) {
    if (!row.nextElementSibling?.matches(".under")) return;
    row.nextElementSibling.remove();
    (row.querySelector(".row-actions button") ?? row.querySelector("[data-action], a.name"))?.focus();
  }

  // Only while the focus is in the list, and never while somebody types.
  key(event) {
    const { target, key } = event;
    const row = target.closest("[data-rows]") && this.list.rowOf(target);
    if (key === "Escape") return this.escape(target, row);
    if (this.menu.isOpen) return this.menu.key(event);
    if (!row || target.matches("input:not([type=checkbox]), select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return null;
    const rows = this.list.rows;
    const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[key];
    if (step) rows[rows.indexOf(row) + step]?.querySelector("a.name").focus();
    else if (key === "x") row.querySelector("[data-pick]")?.click();
    else if (key === "m") row.querySelector('[data-action="menu"]')?.click();
    else if (key === "/") this.find("[name=q]")?.focus();
    else return null;
    return event.preventDefault();
  }

  escape(target, row) {
    if (this.menu.isOpen) return this.menu.close();
    if (target.closest(".under")) return this.closeUnder(row);
    const place = target.closest("[data-filter-place], [data-columns-place]");
    const button = place && this.find(`[aria-controls="${place.id}"]`);
    if (button) { this.toggle(button, place); button.focus(); }
    return this.selection.escape(target);
  }
}

export async function makeTools(list) {
  return new Tools(list, await fetchFragment("/desk/callbacks/tools"));
}
