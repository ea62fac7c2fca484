// Settings: a page for each kind of choice, from a list at the side, or a select where there is no room for it.
import { openPanels } from "../panels.js";

export function show(view) {
  const pages = view.root.querySelector("[data-pages]");
  pages.addEventListener("change", () => { location.hash = pages.value; });
  return openPanels(view);
}
