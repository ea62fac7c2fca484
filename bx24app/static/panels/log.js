// The log of requests to Bitrix24, with filters.
import { fetchFragment } from "../api.js";

export function start(panel) {
  const [filters, log] = [panel.find("form"), panel.find("#requests-list")];

  async function show(before = "") {
    const query = new URLSearchParams(new FormData(filters));
    if (before) query.set("before", before);
    const page = await fetchFragment(`/desk/requests?${query}`);
    if (!before) return log.replaceChildren(page);
    // The button that asked goes; the first of the new rows takes the focus.
    log.querySelector("[data-more]").remove();
    const first = page.querySelector("li");
    log.append(page);
    first?.setAttribute("tabindex", "-1");
    return first?.focus();
  }

  const begin = (before) => panel.run(null, () => show(before));
  filters.addEventListener("change", () => begin());
  filters.addEventListener("submit", (event) => { event.preventDefault(); begin(); });
  log.addEventListener("click", (event) => {
    const more = event.target.closest("[data-more]");
    if (more) begin(more.dataset.more);
  });
  begin();
}
