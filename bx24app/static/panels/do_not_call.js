// The do-not-call list: adding, searching, removing, taking in and giving out whole lists.
import { request, send } from "../api.js";
import { submitted } from "./fields.js";

const COUNTED = ["added", "known", "refused"];

function download(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// As the server reads a file (web/charsets.py): in UTF-16 with its mark, in UTF-8, else in the charset of Windows.
async function textOf(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const marked = { 0xfffe: "utf-16le", 0xfeff: "utf-16be" }[bytes[0] * 256 + bytes[1]];
  try {
    return new TextDecoder(marked ?? "utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder(document.documentElement.lang === "ru" ? "windows-1251" : "windows-1252").decode(bytes);
  }
}

// The server takes 5,000 lines and 1 MiB at once; the heading goes with each part.
const MAX_LINES = 4000;
const MAX_CHARACTERS = 250000;

function* parts(text) {
  const lines = text.split("\n");
  const heading = /\d/.test(lines[0]) ? [] : [lines.shift()];
  let [part, size] = [[...heading], 0];
  for (const line of lines) {
    if (part.length >= MAX_LINES || size + line.length > MAX_CHARACTERS) {
      yield part.join("\n");
      [part, size] = [[...heading], 0];
    }
    part.push(line);
    size += line.length;
  }
  yield part.join("\n");
}

async function sendPart(body) {
  const headers = { "Content-Type": "text/plain; charset=utf-8" };
  return (await request("/api/v1/do-not-call/import", { method: "POST", body, headers })).json();
}

export function start(panel) {
  // Lines that could not be read stay in the field, to be mended and sent again.
  async function takeIn(form) {
    const report = { added: 0, known: 0, refused: 0, lines: [] };
    for (const part of parts(form.querySelector("textarea").value)) {
      const found = await sendPart(part);
      for (const name of COUNTED) report[name] += found[name];
      report.lines.push(...found.lines);
    }
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
    if (target.type === "file" && target.files.length) panel.find("[data-import] textarea").value = await textOf(target.files[0]);
  });
  panel.onClick({
    export: async (button) => download(await (await request("/api/v1/do-not-call/export")).blob(), button.dataset.fileName),
    remove: (button) => panel.change(`/do-not-call/${button.closest("[data-id]").dataset.id}`, { method: "DELETE" }),
  });
}
