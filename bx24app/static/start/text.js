// The text of a call: how long it is, what may stand for the customer, and what will be said.
import { request } from "../api.js";
import { byId } from "../ui.js";

const PAUSE = 300;

export class SpokenText {
  constructor(customerName) {
    Object.assign(this, { customerName, field: byId("text"), counter: byId("text-counter"), said: byId("will-be-said"), timer: null, asked: 0 });
  }

  insert(variable) {
    this.field.setRangeText(variable, this.field.selectionStart, this.field.selectionEnd, "end");
    this.field.focus();
    this.changed();
  }

  changed() {
    this.counter.textContent = `${this.field.value.length}/${this.field.maxLength}`;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.preview(), PAUSE);
  }

  // The server makes the texts; an answer that a later one has overtaken is not shown.
  async preview() {
    const asked = ++this.asked;
    const json = { text: this.field.value, customer_name: this.customerName() };
    const said = await request("/desk/start/text", { method: "POST", json }).then((response) => response.json()).catch(() => ({ words: "" }));
    if (asked === this.asked) this.said.textContent = said.words;
  }
}
