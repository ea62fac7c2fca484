// The cards of a view that have a script of their own, which is fetched with the view.
import { Problem, send, wordsFor } from "./api.js";
import { busily, confirmFirst, copy, say } from "./ui.js";

// What a panel's script works with: its place on the page, fresh content, one note for what happened, and its buttons.
export class Panel {
  constructor(view, root) {
    Object.assign(this, { view, root, name: root.dataset.panel });
    this.body = root.querySelector("[data-body]");
    this.note = root.querySelector("[data-note]");
  }

  find(selector) {
    return this.body.querySelector(selector);
  }

  // The panel as it is now; of the view that was fetched only this part is used.
  async load(query = "") {
    const fresh = await this.view.fragment(query);
    this.body.replaceChildren(...fresh.querySelector(`[data-panel="${this.name}"] [data-body]`).childNodes);
  }

  // Sends a change to the API, then shows the panel as it is after it.
  async change(path, options) {
    await send(path, options);
    await this.load();
  }

  // Shows a secret, once, ready to be copied.
  async reveal(secret) {
    await this.load();
    this.find("[data-new]").hidden = false;
    this.find("[data-new] input").value = secret;
    this.find("[data-new] button").focus();
  }

  say(text, kind) {
    say(this.note, text, kind);
  }

  // Runs what a control asks for, once at a time, and says what went wrong.
  run(control, work) {
    const attempt = async () => {
      this.say("");
      try {
        await work();
      } catch (error) {
        if (!(error instanceof Problem) && !(error instanceof TypeError)) throw error;
        this.say(wordsFor(error), "failure");
      }
    };
    return control ? busily(control, attempt) : attempt();
  }

  // `actions` by the data-action of a pressed button; each gets the button. Every panel can copy and ask once more.
  onClick(actions) {
    const known = { ask: confirmFirst, copy: (button) => this.copy(button), ...actions };
    this.body.addEventListener("click", (event) => {
      const button = event.target.closest("[data-action]");
      const action = button && known[button.dataset.action];
      if (action) this.run(button, () => action(button));
    });
  }

  // `actions` by the data-form of a form that is sent; each gets the form. Its button waits meanwhile.
  onSubmit(actions) {
    this.body.addEventListener("submit", (event) => {
      event.preventDefault();
      const action = actions[event.target.dataset.form];
      if (action) this.run(event.target.querySelector("[type=submit]"), () => action(event.target));
    });
  }

  copy(button) {
    if (copy(this.find(`#${button.dataset.copies}`))) button.textContent = button.dataset.done;
  }
}

const scriptOf = (root) => import(`./panels/${root.dataset.panel}.js`);

export const fetchScripts = (content) => Promise.all([...content.querySelectorAll("[data-panel]")].map(scriptOf));

export async function openPanels(view) {
  const panels = [...view.root.querySelectorAll("[data-panel]")].map((root) => new Panel(view, root));
  await Promise.all(panels.map(async (panel) => {
    const { start } = await scriptOf(panel.root);
    // Another view may have taken the place of this one meanwhile.
    if (panel.root.isConnected) await start(panel);
  }));
}
