// What is selected, and what is done with all of it: asked in place with the phones that will ring, each outcome told.
import { Problem, send, wordsFor } from "../api.js";
import { act } from "../callback_actions.js";
import { say } from "../ui.js";
import { momentOf } from "../wall_clock.js";

const AT_ONCE = 4;
const LATE = ["too_late", "duplicate_open_callback"];

export class Selection {
  constructor(tools) {
    this.tools = tools;
  }

  get list() {
    return this.tools.list;
  }

  get picked() {
    return this.list.rows.filter((row) => row.querySelector("[data-pick]")?.checked);
  }

  get bars() {
    return [...this.list.list.querySelectorAll("[data-bulk]")];
  }

  // On a telephone boxes stand beside the rows only while somebody selects.
  offer(button) {
    const isOffered = this.tools.root.classList.toggle("selecting");
    button.setAttribute("aria-pressed", String(isOffered));
    if (!isOffered) this.picked.forEach((row) => { row.querySelector("[data-pick]").checked = false; });
    this.show();
  }

  changed(box) {
    if (box.matches("[data-pick-all]")) this.list.rows.forEach((row) => { row.querySelector("[data-pick]").checked = box.checked; });
    this.show();
  }

  // The bar stands above and below the table while something is selected.
  show() {
    const { picked, tools } = this;
    this.list.rows.forEach((row) => row.classList.toggle("picked", picked.includes(row)));
    if (!picked.length) return this.bars.forEach((bar) => bar.remove());
    if (!this.bars.length) {
      const table = this.list.list.querySelector("[data-rows]");
      table.before(tools.template("bulk"));
      table.after(tools.template("bulk"));
    }
    for (const bar of this.bars) {
      bar.querySelector("[data-picked]").textContent = bar.dataset.words.replace("{count}", picked.length);
      bar.querySelectorAll("[data-needs]").forEach((button) => { button.disabled = !this.able(button.dataset.needs).length; });
      this.ask(bar, null);
    }
    return null;
  }

  able(needed) {
    return this.picked.filter((row) => row.dataset.can.split(" ").includes(needed));
  }

  ask(bar, name) {
    bar.querySelector("[data-buttons]").hidden = Boolean(name);
    bar.querySelectorAll("[data-question]").forEach((part) => { part.hidden = part.dataset.question !== name; });
  }

  press(button, row) {
    const bar = button.closest("[data-bulk]");
    const { action } = button.dataset;
    if (!bar) return action === "close-move" ? this.tools.closeUnder(row) : null;
    if (action === "bulk-ask") return this.question(bar, button.dataset.asks, button.dataset.needs);
    if (action === "bulk-no") return this.no(bar);
    if (action === "bulk-export") return this.tools.attempt(button, () => this.tools.save(`ids=${this.picked.map((row) => row.dataset.id)}`));
    return this.run(bar, button, action);
  }

  no(bar) {
    this.ask(bar, null);
    bar.querySelector("button:enabled").focus();
  }

  // It is done with those that were asked about, whatever became of them meanwhile.
  question(bar, name, needed) {
    this.asked = this.able(needed).map((row) => row.dataset.id);
    this.ask(bar, name);
    const part = bar.querySelector(`[data-question="${name}"]`);
    part.querySelector("[data-sentence]").textContent = part.dataset.words.replaceAll("{count}", this.asked.length);
    part.querySelector("input, button").focus();
  }

  run(bar, button, action) {
    const needed = { "bulk-cancel": "cancel", "bulk-retry": "retry" }[action];
    return this.tools.attempt(button, () => this.each(bar, (id) => act(id, needed), needed));
  }

  // Of one row, or of all that are selected.
  move(form) {
    const at = momentOf(`${form.elements.day.value}T${form.elements.time.value}`);
    if (Number.isNaN(at.valueOf()) || at <= new Date()) return say(form.querySelector("[data-form-problem]"), form.dataset.needTime, "failure");
    const json = { scheduled_at: at.toISOString() };
    const moved = (id) => send(`/callbacks/${id}`, { method: "PATCH", json });
    const bar = form.closest("[data-bulk]");
    const button = form.querySelector("[type=submit]");
    if (bar) return this.tools.attempt(button, () => this.each(bar, moved, "move"));
    const row = this.list.rowOf(form);
    return this.tools.attempt(button, async () => {
      await moved(row.dataset.id);
      this.tools.closeUnder(row);
      this.list.hasActed = true;
      await this.list.lookNow();
    });
  }

  // A few at once; what was refused is counted by what it means.
  async each(bar, work, name) {
    const [left, told, other] = [[...this.asked], { done: 0, late: 0 }, new Map()];
    const one = async () => {
      for (let id = left.shift(); id; id = left.shift()) {
        try {
          await work(id);
          told.done += 1;
        } catch (error) {
          if (error instanceof Problem && LATE.includes(error.code)) told.late += 1;
          else other.set(wordsFor(error), (other.get(wordsFor(error)) ?? 0) + 1);
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, one));
    const { dataset } = bar;
    const parts = [[told.done, dataset[name]], [told.late, dataset.late]].filter(([count]) => count);
    const words = [...parts.map(([count, text]) => text.replace("{count}", count)), ...[...other].map(([text, count]) => `${count}: ${text}`)];
    this.list.list.querySelectorAll("[data-pick]:checked, [data-pick-all]:checked").forEach((box) => { box.checked = false; });
    this.show();
    this.list.hasActed = true;
    await this.list.lookNow();
    say(this.tools.find("[data-list-problem]"), words.join("; "), told.late || other.size ? "warning" : "success", { fades: false });
  }

  escape(target) {
    const bar = target.closest("[data-bulk]");
    if (bar?.querySelector("[data-question]:not([hidden])")) this.no(bar);
  }
}
