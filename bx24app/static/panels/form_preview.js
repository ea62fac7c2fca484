// What visitors would see of unsaved settings: the server renders their page, which is shown in a shadow root, inert.
import { Problem, request } from "../api.js";
import { parse } from "../ui.js";

const PAUSE = 300;
const WIDE = "(min-width: 1100px)";

function stage(box) {
  const root = box.querySelector("[data-stage]").attachShadow({ mode: "open" });
  const sheet = Object.assign(document.createElement("link"), { rel: "stylesheet", href: box.dataset.sheet });
  const page = Object.assign(document.createElement("div"), { className: "framed" });
  root.append(sheet, page);
  return page;
}

// Returns what is called after each change; it draws when nothing has changed for a moment.
export function followPreview(box, key, settings, contrast) {
  const page = stage(box);
  const host = page.getRootNode().host;
  const launcher = box.querySelector("[data-launcher]");
  const chosen = (name) => box.querySelector(`[name="preview-${name}"]:checked`).value;
  let [drawn, timer, turn] = ["", null, 0];

  function paint({ html, button, colour, text_colour: text, contrast: words }) {
    const body = parse(html);
    page.replaceChildren(body.querySelector("main"));
    page.lang = chosen("language");
    launcher.textContent = button;
    for (const part of [host, launcher]) {
      part.style.setProperty("--accent", colour);
      part.style.setProperty("--on-accent", text);
    }
    contrast.textContent = words;
  }

  async function draw() {
    const json = { settings: settings(), language: chosen("language"), moment: chosen("moment") };
    host.classList.toggle("phone", chosen("size") === "phone");
    if (JSON.stringify(json) === drawn) return;
    drawn = JSON.stringify(json);
    const mine = ++turn;
    let isStale = false;
    try {
      const shown = await (await request(`/desk/forms/${key}/preview`, { method: "POST", json })).json();
      if (mine === turn) paint(shown);
    } catch (error) {
      // What is half typed is refused; a lost connection is told when it is saved.
      if (!(error instanceof Problem) && !(error instanceof TypeError)) throw error;
      isStale = true;
    }
    if (mine === turn) box.querySelector("[data-stale]").hidden = !isStale;
  }

  box.open = matchMedia(WIDE).matches;
  box.addEventListener("change", draw);
  box.addEventListener("toggle", () => { if (box.open) draw(); });
  return () => {
    clearTimeout(timer);
    if (box.open || !contrast.textContent) timer = setTimeout(draw, PAUSE);
  };
}
