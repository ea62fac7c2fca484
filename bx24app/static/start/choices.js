// The lines and voices of the portal, asked for anew.
import { send } from "../api.js";

// What was chosen stays so, and a choice of nothing stays in front. `name` is lines or voices.
export async function readAnew(select, name) {
  const items = (await send(`/${name}?refresh=1`))[name];
  const chosen = select.value;
  const options = [...select.options];
  const foreign = new Set(options.filter((option) => option.hasAttribute("data-foreign")).map(({ value }) => value));
  select.replaceChildren(...options.filter(({ value }) => !value), ...items.map(({ id, name: shown }) => {
    const option = new Option(shown, id, false, id === chosen);
    option.toggleAttribute("data-foreign", foreign.has(id));
    return option;
  }));
  select.disabled = select.options.length === 0;
}
