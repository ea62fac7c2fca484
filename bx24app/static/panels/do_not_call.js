// The do-not-call list: adding, searching, removing, taking in and giving out whole lists.
import { request, send } from "../api.js";
import { submitted } from "./fields.js";

const COUNTED = ["added", "known", "refused"];

function download(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

export function start(panel) {
  // Lines that could not be read stay in the field, to be mended and sent again.
  async function takeIn(form) {
    const lines = form.querySelector("textarea");
    const response = await request("/api/v1/do-not-call/import", {
      method: "POST",
      body: lines.value,
      headers: { "Content-Type": "text/plain; charset=utf-8" },
    });
    const report = await response.json();
    const words = COUNTED.filter((name) => report[name]).map((name) => `${form.dataset[name]}: ${report[name]}`).join(", ");
    const refused = report.lines.filter(({ outcome }) => outcome === "refused").map(({ text }) => text);
    await panel.load();
    panel.say(words || form.dataset.nothing, report.refused ? "warning" : "success");
    if (!refused.length) return;
    panel.find("[data-import]").open = true;
    panel.find("[data-import] textarea").value = refused.join("\n");
    panel.find("[data-import] textarea").focus();
  }

  panel.onSubmit({
    async add(form) {
      if (!(await submitted(form, (json) => send("/do-not-call", { method: "POST", json })))) return;
      await panel.load();
      panel.find("#dnc-number").focus();
    },
    async search() {
      await panel.load(`?${new URLSearchParams({ q: panel.find("#dnc-search").value })}`);
      panel.find("#dnc-search").focus();
    },
    import: takeIn,
  });
  panel.body.addEventListener("change", async ({ target }) => {
    if (target.type === "file" && target.files.length) panel.find("[data-import] textarea").value = await target.files[0].text();
  });
  panel.onClick({
    export: async (button) => download(await (await request("/api/v1/do-not-call/export")).blob(), button.dataset.fileName),
    remove: (button) => panel.change(`/do-not-call/${button.closest("[data-id]").dataset.id}`, { method: "DELETE" }),
  });
}
