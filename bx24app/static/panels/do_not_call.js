// The do-not-call list: adding, searching, removing, taking in and giving out whole lists.
import { request, send } from "../api.js";
import { submitted } from "./fields.js";

const COUNTED = ["added", "known", "refused"];
// The server takes 256 KB and 5,000 lines at a time, and reads no more than this of a line.
const PART_LINES = 2000;
const PART_BYTES = 200000;
const LONGEST_LINE = 4000;
const HEAD_LINES = 2;
// The server takes one list of a portal at a time, and says when to try again.
const TRIES = 6;
const LONGEST_WAIT = 60;

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

// What stands above the first number: a heading, or Excel's name of a separator. It goes with each part.
function headOf(lines) {
  const first = lines.findIndex((line) => /\d/.test(line));
  return lines.slice(0, Math.min(Math.max(first, 0), HEAD_LINES));
}

// The lines of a list in parts that the server takes, each without its head.
function partsOf(lines) {
  const encoder = new TextEncoder();
  const parts = [];
  let bytes = Infinity;
  for (const line of lines) {
    const more = encoder.encode(line).length + 1;
    if (bytes + more > PART_BYTES || parts.at(-1).length >= PART_LINES) {
      parts.push([]);
      bytes = 0;
    }
    parts.at(-1).push(line);
    bytes += more;
  }
  return parts;
}

async function whenTaken(path, options, tries = TRIES) {
  try {
    return await request(path, options);
  } catch (problem) {
    if (!problem.retryAfter || tries <= 1) throw problem;
    await new Promise((done) => { setTimeout(done, Math.min(problem.retryAfter, LONGEST_WAIT) * 1000); });
    return whenTaken(path, options, tries - 1);
  }
}

async function sendPart(lines) {
  const response = await whenTaken("/api/v1/do-not-call/import", {
    method: "POST",
    body: lines.join("\n"),
    headers: { "Content-Type": "text/plain; charset=utf-8" },
  });
  return response.json();
}

export function start(panel) {
  // Lines that could not be read, or were not sent, stay in the field, to be mended and sent again.
  async function takeIn(form) {
    const lines = form.querySelector("textarea").value.split(/\r\n|\r|\n/).map((line) => line.slice(0, LONGEST_LINE));
    const head = headOf(lines);
    const parts = partsOf(lines.slice(head.length));
    const counts = { added: 0, known: 0, refused: 0 };
    const left = [];
    const words = () => COUNTED.filter((name) => counts[name]).map((name) => `${form.dataset[name]}: ${counts[name]}`).join(", ");
    try {
      while (parts.length) {
        const report = await sendPart([...head, ...parts[0]]);
        parts.shift();
        for (const name of COUNTED) counts[name] += report[name];
        left.push(...report.lines.filter(({ outcome }) => outcome === "refused").map(({ text }) => text));
        if (parts.length) panel.say(words());
      }
      await panel.load();
      panel.say(words() || form.dataset.nothing, counts.refused ? "warning" : "success");
    } finally {
      left.push(...parts.flat());
      if (left.length) {
        panel.find("[data-import]").open = true;
        panel.find("[data-import] textarea").value = left.join("\n");
        panel.find("[data-import] textarea").focus();
      }
    }
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
    export: async (button) => download(await (await whenTaken("/api/v1/do-not-call/export")).blob(), button.dataset.fileName),
    remove: (button) => panel.change(`/do-not-call/${button.closest("[data-id]").dataset.id}`, { method: "DELETE" }),
  });
}
