// The rule tester: a number, a website and a time; one sentence says what would become of it, and then every rule in its
// order, the deciding one marked.
import { send, wordsFor } from "../api.js";
import { say } from "../ui.js";
import { submitted } from "./fields.js";

export function start(panel) {
  if (!panel.find("form")) return;
  const [result, summary] = [panel.find("[data-result]"), panel.find("[data-verdict]")];

  function line({ verdict, reason, inputs, is_tried: isTried }) {
    const state = verdict === "passed" && !isTried ? "assumed" : verdict;
    const row = result.querySelector("template").content.firstElementChild.cloneNode(true);
    row.className = { passed: "passed", decides: "deciding" }[state] ?? "";
    row.querySelector("[data-reason]").textContent = reason;
    row.querySelector("[data-inputs]").textContent = Object.entries(inputs).map(([name, value]) => `${name}: ${value}`).join(", ");
    const mark = row.querySelector("[data-state]");
    mark.textContent = mark.getAttribute(`data-${state}`);
    return row;
  }

  // The days and times of Call later, by the hours of the form.
  const [place, chosen] = [panel.find("[data-later]"), panel.find("#test-form")];
  let later = null;
  async function showTimes() {
    place.hidden = panel.find('[name="test-when"]:checked').value === "now";
    if (place.hidden) return;
    const { Later } = await import("../start/later.js");
    const changed = () => { panel.find("[type=submit]").disabled = later.isLoading; };
    later ??= new Later(place, { changed, customerZone: () => null, failed: (error) => panel.say(wordsFor(error), "failure") });
    later.form = chosen.value;
    await later.open();
  }
  panel.body.addEventListener("change", ({ target }) => {
    if (target.name === "test-when" || target === chosen) panel.run(null, showTimes);
  });

  panel.onSubmit({
    async test(form) {
      const more = later && !place.hidden ? { at: later.at } : {};
      const tried = await submitted(form, (json) => send("/rules/test", { method: "POST", json }), more);
      result.hidden = !tried;
      if (!tried) return;
      const deciding = tried.rules.find(({ verdict }) => verdict === "decides");
      const words = deciding ? summary.dataset.refused.replace("{why}", deciding.reason) : summary.dataset.passes;
      say(summary, words, deciding ? "failure" : "success", { fades: false });
      result.querySelector("tbody").replaceChildren(...tried.rules.map(line));
    },
  });
}
