// For administrators: the check of the setup, which looks by itself.
import { Problem, request } from "./api.js";
import { localTimes } from "./list.js";
import "./panels.js";

const byId = (id) => document.getElementById(id);
const [findings, badge, again] = [byId("check-findings"), byId("check-badge"), byId("check-again")];
const offline = byId("connection").textContent;

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
    findings.textContent = error instanceof Problem ? error.message : offline;
  } finally {
    again.disabled = false;
    again.removeAttribute("aria-busy");
  }
}

again.addEventListener("click", check);
check();
