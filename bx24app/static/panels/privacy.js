// What is kept about a number: found and counted first, then saved as a file, or erased once it is typed again.
import { send } from "../api.js";
import { submitted } from "./fields.js";

// A file of what the page has already; the link is pressed by the script alone.
function save(name, content) {
  const url = URL.createObjectURL(new Blob([JSON.stringify(content, null, 2)], { type: "application/json" }));
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

export function start(panel) {
  const [place, erasing] = [panel.find("[data-found]"), panel.find("[data-form=erase]")];
  const kinds = JSON.parse(place.dataset.kinds);
  let found = null;

  function show() {
    const counts = Object.entries(found?.counts ?? {}).filter(([, count]) => count);
    place.querySelector("[data-counts]").replaceChildren(...counts.map(([kind, count]) => (
      Object.assign(document.createElement("li"), { textContent: `${kinds[kind]}: ${count}` }))));
    place.hidden = erasing.hidden = !counts.length;
    erasing.reset();
    return counts.length;
  }

  // A callback leads here with its number.
  panel.find("[name=number]").value = panel.view.given ?? "";
  panel.onClick({ file: () => save("number.json", found) });
  panel.onSubmit({
    async find(form) {
      found = null;
      show();
      found = await submitted(form, (json) => send("/export", { method: "POST", json }));
      if (found && !show()) panel.say(place.dataset.nothing, "success");
    },
    async erase(form) {
      const json = { number: found.number, confirm: form.elements.confirm.value };
      if (!(await submitted(form, () => send("/erase", { method: "POST", json })))) return;
      found = null;
      show();
      panel.say(place.dataset.erased, "success");
    },
  });
}
