// The setup check: what was found a moment ago stands on the page; else Bitrix24 is asked.
import { fetchFragment, wordsFor } from "../api.js";
import { busily } from "../ui.js";

export function start(panel) {
  const [findings, again] = [panel.find("#check-findings"), panel.find("#check-again")];

  function check() {
    return busily(again, async () => {
      if (!findings.childElementCount) findings.append(Object.assign(document.createElement("p"), { className: "progress", textContent: findings.dataset.asking }));
      try {
        findings.replaceChildren(await fetchFragment("/desk/check"));
        panel.view.count(findings.querySelector("[data-count]").dataset.count);
      } catch (error) {
        findings.textContent = wordsFor(error);
      }
    });
  }

  again.addEventListener("click", check);
  if (!findings.childElementCount) check();
}
