// The rule tester: a number, a website and a time; every rule in its order, the deciding one marked.
import { send } from "../api.js";
import { say } from "../ui.js";
import { submitted } from "./fields.js";

export function start(panel) {
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

  panel.onSubmit({
    async test(form) {
      const at = panel.find("#test-at").value;
      const more = at ? { at: new Date(at).toISOString() } : {};
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
