// The check of the setup, which looks by itself.
import { fetchFragment, wordsFor } from "./api.js";
import { busily, byId } from "./ui.js";

function check(button) {
  const [findings, badge] = [byId("check-findings"), byId("check-badge")];
  return busily(button, async () => {
    try {
      findings.replaceChildren(await fetchFragment("/desk/check"));
      badge.textContent = findings.querySelector("[data-count]").dataset.count;
      badge.hidden = badge.textContent === "0";
    } catch (error) {
      findings.textContent = wordsFor(error);
    }
  });
}

export function start() {
  const again = byId("check-again");
  again.addEventListener("click", () => check(again));
  check(again);
}
