// The setup check: what was found a moment ago stands on the page; else Bitrix24 is asked. A finding is cured beside it, and
// goes with the check that follows.
import { fetchFragment, request, send } from "../api.js";

export function start(panel) {
  const findings = panel.find("#check-findings");

  async function check() {
    if (!findings.childElementCount) findings.append(Object.assign(document.createElement("p"), { className: "progress", textContent: findings.dataset.asking }));
    try {
      findings.replaceChildren(await fetchFragment("/desk/check"));
    } catch (error) {
      findings.querySelector(".progress")?.remove();
      throw error;
    }
    panel.view.count(findings.querySelector("[data-count]").dataset.count);
  }

  // The pressed button is gone after it: what stands there now is read.
  async function cured(work) {
    const problems = await work();
    await check();
    findings.querySelector("[data-count]").focus({ preventScroll: true });
    if (problems?.length) panel.say(problems.join(" "), "warning");
  }

  panel.onClick({
    again: (button) => (findings.contains(button) ? cured(() => null) : check()),
    lines: () => cured(() => send("/lines?refresh=1").then(() => null)),
    voice: () => cured(() => send("/settings", { method: "PATCH", json: { default_voice_id: "" } }).then(() => null)),
    bind: () => cured(async () => (await (await request("/desk/check/bind", { method: "POST" })).json()).problems),
  });
  if (!findings.childElementCount) panel.run(panel.find('[data-action="again"]'), check);
}
