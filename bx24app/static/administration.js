// For administrators: the check of the setup, and the log of requests.
import { Problem, request } from "./api.js";
import { localTimes } from "./list.js";

const byId = (id) => document.getElementById(id);
const [findings, badge, again] = [byId("check-findings"), byId("check-badge"), byId("check-again")];
const [filters, log] = [byId("requests-form"), byId("requests-list")];
const offline = byId("connection").textContent;

const words = (error) => (error instanceof Problem ? error.message : offline);

async function check() {
  again.disabled = true;
  again.setAttribute("aria-busy", "true");
  try {
    findings.innerHTML = await (await request("/desk/check")).text();
    localTimes(findings);
    const count = findings.querySelector("[data-count]").dataset.count;
    badge.textContent = count;
    badge.hidden = count === "0";
  } catch (error) {
    findings.textContent = words(error);
  } finally {
    again.disabled = false;
    again.removeAttribute("aria-busy");
  }
}

async function show(before = "") {
  const query = new URLSearchParams(new FormData(filters));
  if (before) query.set("before", before);
  try {
    const page = new DOMParser().parseFromString(await (await request(`/desk/requests?${query}`)).text(), "text/html");
    localTimes(page);
    if (!before) return log.replaceChildren(...page.body.childNodes);
    // The button that asked goes; the first of the new rows takes the focus.
    log.querySelector("[data-more]").remove();
    const first = page.querySelector("li");
    log.append(...page.body.childNodes);
    first?.setAttribute("tabindex", "-1");
    return first?.focus();
  } catch (error) {
    log.textContent = words(error);
    return null;
  }
}

again.addEventListener("click", check);
filters.addEventListener("change", () => show());
filters.addEventListener("submit", (event) => { event.preventDefault(); show(); });
byId("requests").addEventListener("toggle", (event) => { if (event.target.open) show(); });
log.addEventListener("click", (event) => {
  const more = event.target.closest("[data-more]");
  if (more) show(more.dataset.more);
});
check();
