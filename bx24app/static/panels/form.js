// The editor of one website form: tabs that stay in one page, one bar that saves what differs, and a preview of it.
import { request } from "../api.js";
import { SaveBar } from "../save_bar.js";
import { chooser, submitted, values } from "./fields.js";
import { followPreview } from "./form_preview.js";
import * as hours from "./hours.js";

// Shows one tab; the address follows, so that a reload keeps it.
function showTab(root, name) {
  for (const part of root.querySelectorAll("[data-tab]")) part.hidden = !part.dataset.tab.split(" ").includes(name);
  for (const link of root.querySelectorAll("[data-tab-link]")) {
    if (link.dataset.tabLink === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function startTabs({ root, view }) {
  const [strip, tries] = [view.root.querySelector("[data-tabs]"), view.root.querySelector("[data-opens-tab]")];
  const open = (event, name) => {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    showTab(view.root, name ?? link.dataset.tabLink);
    view.rename(link.hash.slice(2));
  };
  strip.addEventListener("click", (event) => open(event));
  tries.addEventListener("click", (event) => {
    open(event, tries.dataset.opensTab);
    view.root.querySelector("#test-number").focus();
  });
  const named = view.path.split("/")[2];
  showTab(view.root, named ?? "look");
  return (place) => {
    const tab = place?.closest("[data-tab]")?.dataset.tab;
    if (!tab) return;
    showTab(view.root, tab);
    view.rename(`websites/${root.querySelector("form").dataset.key}/${tab}`);
  };
}

export function start(panel) {
  const { view, body } = panel;
  const form = panel.find("form");
  const conflict = panel.find("[data-conflict]");
  body.querySelectorAll("[data-chooser]").forEach(chooser);
  hours.start(panel.find("[data-hours]"));
  panel.note = panel.find("[data-note]");
  const editor = panel.find("[data-hours]");
  // An empty text is the sentence that stands in its field.
  const consents = () => Object.fromEntries([...form.querySelectorAll("[data-consent-texts] textarea")].map(({ name, value, placeholder }) => [name.split(".")[1], value.trim() || placeholder]));
  const read = () => {
    const { asks_consent: asks, ...others } = values(form);
    return { ...others, consent_texts: asks ? consents() : null, hours: hours.read(editor) };
  };
  const showConsent = () => { panel.find("[data-consent-texts]").hidden = !form.elements.asks_consent.checked; };
  const bar = new SaveBar(view, form, read);
  const reveal = startTabs(panel);
  const preview = followPreview(panel.root.querySelector("[data-preview]"), form.dataset.key, read, panel.find("[data-contrast]"));
  let version = form.dataset.version;

  const versionOf = (response) => response.headers.get("ETag").replaceAll('"', "");

  function look() {
    showConsent();
    bar.look();
    preview();
  }

  // The form that was saved, or null when a colleague was quicker: one more press saves what was changed here, and only that.
  async function patch(json) {
    const path = `/api/v1/forms/${form.dataset.key}`;
    try {
      const response = await request(path, { method: "PATCH", json, headers: { "If-Match": `"${version}"` } });
      version = versionOf(response);
      return await response.json();
    } catch (error) {
      if (error.code !== "changed_meanwhile") throw error;
      version = versionOf(await request(path));
      conflict.querySelector("p").textContent = error.message;
      conflict.hidden = false;
      conflict.querySelector("button").focus();
      return null;
    }
  }

  async function save() {
    conflict.hidden = true;
    const saved = await submitted(form, () => patch(bar.changes()));
    if (!saved) {
      const wrong = form.querySelector('[aria-invalid="true"]');
      if (wrong) reveal(wrong);
      return wrong?.focus();
    }
    bar.stored = read();
    look();
    view.root.querySelector("h1").textContent = saved.name;
    return panel.say(form.dataset.saved, "success");
  }

  panel.onSubmit({ save });
  panel.onClick({
    // The form as the server has it now, in the tab that is shown.
    discard: () => view.router.open(view.path, view.query),
  });
  // After the editors of hours and of lists have done their part.
  const later = () => setTimeout(look);
  for (const type of ["input", "change", "click"]) form.addEventListener(type, later);
  look();
}
