// The smart processes whose cards have a tab of the app. The list is kept; a press, or the first visit, reads it anew.
import { request } from "../api.js";
import { startSettings } from "../settings_form.js";

const read = (form) => ({ smart_processes: [...form.querySelectorAll("[name=types]:checked")].map(({ value }) => Number(value)) });

export function start(panel) {
  const page = startSettings(panel, { read });
  async function readAnew() {
    await request("/desk/company/smart-processes", { method: "POST" });
    await page.show();
  }
  panel.onClick({ read: readAnew });
  if ("unread" in page.form.dataset) panel.run(panel.find("[data-action=read]"), readAnew);
}
