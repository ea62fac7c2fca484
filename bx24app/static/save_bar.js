// Under a form: Save, Discard and "2 changes", as soon as something in it differs from what is stored. Whoever goes to
// another view meanwhile is asked in place; nothing that was typed gets lost by a slip.

// The same value is written the same way, whatever the order of its names.
function written(value) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return JSON.stringify(value);
  return `{${Object.keys(value).sort().map((name) => `${name}:${written(value[name])}`).join()}}`;
}

export const same = (one, other) => written(one) === written(other);

// How many values differ, those inside of objects one by one.
function differences(one, other) {
  const inner = [one, other].map((value) => (value && typeof value === "object" && !Array.isArray(value) ? value : null));
  if (!inner.some(Boolean)) return same(one, other) ? 0 : 1;
  // Where there was nothing at all, choosing it is one change.
  if (!inner.every(Boolean)) return 1;
  const names = new Set(inner.flatMap((value) => Object.keys(value)));
  return [...names].reduce((sum, name) => sum + differences(inner[0][name], inner[1][name]), 0);
}

export class SaveBar {
  // `read` gives what the form holds now; what it holds at this moment is stored.
  constructor(view, form, read) {
    const bar = form.querySelector("[data-bar]");
    Object.assign(this, { view, form, read, bar, question: bar.querySelector("[data-leaving]"), stored: read() });
    this.words = JSON.parse(bar.dataset.counted);
    for (const event of ["input", "change"]) form.addEventListener(event, () => this.look());
    bar.querySelector("[data-leave]").addEventListener("click", () => this.leave());
    bar.querySelector("[data-stay]").addEventListener("click", () => this.stay());
    this.question.addEventListener("keydown", ({ key }) => key === "Escape" && this.stay());
    view.holdWhile((wanted) => this.asks(wanted));
    this.look();
  }

  // What differs, by name.
  changes() {
    const now = this.read();
    return Object.fromEntries(Object.entries(now).filter(([name, value]) => !same(value, this.stored[name])));
  }

  look() {
    const count = differences(this.stored, this.read());
    this.bar.hidden = !count;
    const words = this.bar.querySelector("[data-changes]");
    const text = this.words[Math.min(count, this.words.length) - 1] ?? "";
    if (words.textContent !== text) words.textContent = text;
    if (!count) this.question.hidden = true;
  }

  asks(wanted) {
    this.look();
    if (this.bar.hidden || !this.bar.isConnected) return false;
    this.wanted = wanted;
    this.question.hidden = false;
    this.question.querySelector("[data-stay]").focus();
    this.question.scrollIntoView({ block: "nearest" });
    return true;
  }

  leave() {
    this.view.holdWhile(null);
    location.hash = this.wanted;
  }

  stay() {
    this.question.hidden = true;
    this.bar.querySelector("[type=submit]").focus();
  }
}
