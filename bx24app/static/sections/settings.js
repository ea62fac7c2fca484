// Settings: a page for each kind of choice, from a list at the side, or a select where there is no room for it.
import { openPanels } from "../panels.js";

export { fetchScripts } from "../panels.js";

export function show(view) {
  const pages = view.root.querySelector("[data-pages]");
  const shown = pages.value;
  pages.addEventListener("change", () => {
    location.hash = pages.value;
    // Unsaved changes may keep this page.
    pages.value = shown;
  });
  return openPanels(view);
}
