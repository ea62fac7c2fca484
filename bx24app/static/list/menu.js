// The menu of a row: a button with a list over the rows, turned upwards where the page ends; arrows, Esc, first letters.
import { request } from "../api.js";
import * as frame from "../frame.js";
import { openPath } from "../portal_pages.js";
import { copy, say } from "../ui.js";

export class Menu {
  constructor(tools) {
    Object.assign(this, { tools, button: null });
    document.addEventListener("pointerdown", ({ target }) => this.isOpen && !this.box.contains(target) && target.closest("button") !== this.button && this.close());
  }

  get isOpen() {
    return Boolean(this.button?.isConnected && this.box);
  }

  get box() {
    return this.button?.parentElement.querySelector("[data-menu]");
  }

  get items() {
    return [...this.box.querySelectorAll("button:not([hidden])")];
  }

  toggle(button, row) {
    const isSame = this.isOpen && this.button === button;
    if (this.isOpen) this.close();
    if (isSame) return;
    this.button = button;
    const box = this.tools.template("menu");
    const can = new Set([...row.dataset.can.split(" "), ...(row.dataset.card ? ["card"] : [])]);
    for (const item of box.querySelectorAll("[data-needs]")) item.closest("li").hidden = item.hidden = !can.has(item.dataset.needs);
    button.parentElement.append(box);
    button.setAttribute("aria-expanded", "true");
    box.classList.toggle("up", box.getBoundingClientRect().bottom > document.body.getBoundingClientRect().bottom);
    this.items[0].focus();
  }

  close({ focuses = true } = {}) {
    const { button, box } = this;
    box?.remove();
    button?.setAttribute("aria-expanded", "false");
    this.button = null;
    if (focuses) button?.focus();
  }

  key(event) {
    const { items } = this;
    const at = items.indexOf(document.activeElement);
    const steps = { ArrowDown: at + 1, ArrowUp: at - 1 + items.length, Home: 0, End: items.length - 1 };
    const starts = (item) => item.textContent.trim().toLowerCase().startsWith(event.key.toLowerCase());
    if (event.key in steps) items[steps[event.key] % items.length].focus();
    else if (event.key === "Tab") return this.close();
    else if (event.key.length === 1 && /\S/.test(event.key)) [...items.slice(at + 1), ...items].find(starts)?.focus();
    else return null;
    return event.preventDefault();
  }

  choose(item, row) {
    const { action, words } = item.dataset;
    const { tools } = this;
    const opener = this.button;
    this.close();
    const known = {
      open: () => row.querySelector("a.name").click(),
      "open-card": () => this.openCard(row),
      "copy-number": () => this.copyNumber(row, words),
      "own-phone": () => frame.phone(row.dataset.number) || say(row.querySelector("[data-row-problem]"), words, "warning"),
      "move-one": () => tools.under(opener, "move"),
      "never-again": () => tools.attempt(null, () => this.neverAgain(row, words)),
    };
    return known[action]();
  }

  // On an error the sentence with the number: the portal does not open every card everywhere.
  async openCard(row) {
    const [type, id] = row.dataset.card.split("/");
    if (!(await openPath(`/crm/${type}/details/${id}/`))) say(row.querySelector("[data-row-problem]"), `${type} #${id}`, "warning");
  }

  copyNumber(row, words) {
    const field = Object.assign(document.createElement("input"), { value: row.dataset.number, className: "visually-hidden" });
    row.querySelector("td.c-menu").append(field);
    const isCopied = copy(field);
    field.remove();
    row.querySelector('[data-action="menu"]').focus();
    if (isCopied) say(row.querySelector("[data-row-problem]"), words, "success");
  }

  async neverAgain(row, words) {
    await request("/api/v1/do-not-call", { method: "POST", json: { number: row.dataset.number } });
    say(row.querySelector("[data-row-problem]"), words, "success");
  }
}
