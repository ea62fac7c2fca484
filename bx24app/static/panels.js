// The administrator's panels: each is fetched, with its script, when it is first opened.
import { Problem, request } from "./api.js";
import { localTimes } from "./list.js";

const offline = document.getElementById("connection").textContent;

// What a panel's script works with: its place on the page, fresh content, one note for what happened, and its buttons.
export class Panel {
  constructor(root) {
    this.root = root;
    this.name = root.dataset.panel;
    this.body = root.querySelector("[data-body]");
    this.note = root.querySelector("[data-note]");
  }

  find(selector) {
    return this.body.querySelector(selector);
  }

  async fragment(path) {
    const parsed = new DOMParser().parseFromString(await (await request(`/desk/panels/${path}`)).text(), "text/html");
    localTimes(parsed);
    return [...parsed.body.childNodes];
  }

  // Returns the Response, as the API answers it.
  request(path, options) {
    return request(path, options);
  }

  async load(query = "") {
    this.body.replaceChildren(...(await this.fragment(this.name + query)));
    this.body.removeAttribute("aria-busy");
  }

  say(text, kind = "") {
    clearTimeout(this.fading);
    if (kind === "success") this.fading = setTimeout(() => this.say(""), 6000);
    this.note.textContent = text;
    this.note.className = `note ${kind}`;
    this.note.hidden = !text;
  }

  words(error) {
    return error instanceof Problem ? error.message : offline;
  }

  // Runs what a control asks for, once at a time, and says what went wrong.
  async run(control, work) {
    if (control?.disabled) return;
    if (control) control.disabled = true;
    this.say("");
    try {
      await work();
    } catch (error) {
      if (!(error instanceof Problem) && !(error instanceof TypeError)) throw error;
      this.say(this.words(error), "failure");
    } finally {
      if (control) control.disabled = false;
    }
  }

  // `actions` by the data-action of a pressed button; each gets the button.
  onClick(actions) {
    this.body.addEventListener("click", (event) => {
      const button = event.target.closest("[data-action]");
      const action = button && actions[button.dataset.action];
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
}

// A frame may not use the clipboard's own interface unless the portal says so: the old way works everywhere.
export function copy(field) {
  field.focus();
  field.select();
  return document.execCommand("copy");
}

// Asks once more inside the page, where the eyes are: a dialog could open out of sight in a high frame.
export function confirmFirst(button) {
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
    panel.body.textContent = panel.words(error);
    details.dataset.loaded = "";
  }
}

function openOnce(details) {
  if (!details.open || details.dataset.loaded) return;
  details.dataset.loaded = "loading";
  open(details);
}

for (const details of document.querySelectorAll("details[data-panel]")) {
  details.addEventListener("toggle", () => openOnce(details));
  // A press may have come before this script.
  openOnce(details);
}
