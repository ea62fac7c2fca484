// The administrator's panels: each is fetched, with its script, when it is first opened.
import { Problem, fetchFragment, send, wordsFor } from "./api.js";
import { busily, copy, say } from "./ui.js";

// What a panel's script works with: its place on the page, fresh content, one note for what happened, and its buttons.
class Panel {
  constructor(root) {
    this.root = root;
    this.name = root.dataset.panel;
    this.body = root.querySelector("[data-body]");
    this.note = root.querySelector("[data-note]");
  }

  find(selector) {
    return this.body.querySelector(selector);
  }

  fragment(path) {
    return fetchFragment(`/desk/panels/${path}`);
  }

  async load(query = "") {
    this.body.replaceChildren(await this.fragment(this.name + query));
    this.body.removeAttribute("aria-busy");
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

// Asks once more inside the page, where the eyes are: a dialog could open out of sight in a high frame.
function confirmFirst(button) {
  const question = button.nextElementSibling;
  question.hidden = false;
  button.hidden = true;
  const [yes, no] = question.querySelectorAll("button");
  yes.focus();
  no.addEventListener("click", () => { question.hidden = true; button.hidden = false; button.focus(); }, { once: true });
}

let looks = null;

function style() {
  looks ??= new Promise((resolve) => {
    const href = new URL("panels.css", import.meta.url).href;
    const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href, onload: resolve, onerror: resolve });
    document.head.append(link);
  });
  return looks;
}

async function open(details) {
  const panel = new Panel(details);
  try {
    const [script] = await Promise.all([import(`./panels/${panel.name}.js`), style(), panel.load()]);
    script.start(panel);
    details.dataset.loaded = "1";
  } catch (error) {
    panel.body.textContent = wordsFor(error);
    details.dataset.loaded = "";
  }
}

function openOnce(details) {
  if (!details.open || details.dataset.loaded) return;
  details.dataset.loaded = "loading";
  open(details);
}

export function start() {
  for (const details of document.querySelectorAll("details[data-panel]")) {
    details.addEventListener("toggle", () => openOnce(details));
    // A press may have come before this script.
    openOnce(details);
  }
}
