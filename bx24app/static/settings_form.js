// A page of the settings: one form that sends what differs, with the version of the settings that it has shown. When a
// colleague has saved meanwhile, only what both have changed is asked about; what was typed stays.
import { Problem, request } from "./api.js";
import { submitted } from "./panels/fields.js";
import { SaveBar, same } from "./save_bar.js";

const PATH = "/api/v1/settings";

const versionOf = (response) => (response.headers.get("ETag") ?? "").replaceAll('"', "");

// `read` gives the settings of the form by name; `check` says what is wrong with them before they are sent, or nothing.
class SettingsForm {
  constructor(panel, { read, begin, check = () => "" }) {
    Object.assign(this, { panel, read, beginning: begin, check });
    panel.onClick({ discard: () => this.show() });
    panel.onSubmit({ save: () => this.save() });
    this.begin();
  }

  begin() {
    this.form = this.panel.find("[data-form=save]");
    this.version = this.form.dataset.version;
    this.beginning?.(this.form);
    this.bar = new SaveBar(this.panel.view, this.form, () => this.read(this.form));
  }

  // The page as it is stored.
  async show() {
    await this.panel.load();
    this.begin();
    this.panel.root.querySelector("h2").focus();
  }

  async save() {
    const wrong = this.check(this.form);
    if (wrong) return this.panel.say(wrong, "warning");
    const saved = await submitted(this.form, () => this.send(this.bar.changes()));
    if (!saved) return null;
    const { saved: words } = this.form.dataset;
    await this.show();
    return this.panel.say(words, "success");
  }

  // True once it is stored, false when somebody else has changed the same.
  async send(json) {
    try {
      this.version = versionOf(await request(PATH, { method: "PATCH", json, headers: { "If-Match": `"${this.version}"` } }));
      return true;
    } catch (error) {
      if (!(error instanceof Problem) || error.code !== "changed_meanwhile") throw error;
      return (await this.differs(json)) ? this.tell(error) : this.send(json);
    }
  }

  async differs(json) {
    const response = await request(PATH);
    const theirs = await response.json();
    this.version = versionOf(response);
    // null is how a form says that nothing is set.
    return Object.keys(json).some((name) => !same(theirs[name], this.bar.stored[name] ?? ""));
  }

  tell(error) {
    const note = this.form.querySelector("[data-conflict]");
    note.querySelector("p").textContent = error.message;
    note.hidden = false;
    note.querySelector("button").focus();
    return false;
  }
}

export const startSettings = (panel, options) => new SettingsForm(panel, options);
