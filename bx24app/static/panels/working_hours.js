// The company's working hours, and what its own calendar says of them: a press fills the editor, and nothing is saved by it.
import { fetchFragment } from "../api.js";
import { startSettings } from "../settings_form.js";
import * as hours from "./hours.js";

const editorOf = (form) => form.querySelector("[data-hours]");

export function start(panel) {
  const page = startSettings(panel, { begin: (form) => hours.start(editorOf(form)), read: (form) => ({ hours: hours.read(editorOf(form)) ?? "" }) });
  panel.onClick({
    propose(button) {
      const proposal = button.closest("[data-proposal]");
      hours.fill(editorOf(page.form), JSON.parse(proposal.dataset.hours));
      proposal.remove();
      page.form.querySelector("[data-open]").focus();
    },
  });
  // Only an extra: a portal that says nothing, or cannot be asked, leaves the page as it is.
  fetchFragment("/desk/company/hours").then((proposed) => panel.find("[data-proposed]")?.replaceChildren(proposed)).catch(() => {});
}
