// How somebody leaves the desk: kept on the server a moment after the last change, because a frame has no storage.
import { send } from "./api.js";

const AFTER = 800;
const FILTERS = ["quick", "source", "form_key", "line_id", "period", "order"];
let kept = null;
let timer = null;

// The filters of an address as they may be kept: what was searched for and days of one's own are not.
export function filtersOf(query) {
  const filters = Object.fromEntries(FILTERS.filter((name) => query.has(name)).map((name) => [name, query.get(name)]));
  if (filters.period === "between") delete filters.period;
  if (query.get("state")) filters.state = query.get("state").split(",");
  if (query.get("requested_by")) filters.requested_by = Number(query.get("requested_by"));
  if (query.has("several_attempts")) filters.several_attempts = true;
  return filters;
}

async function load() {
  const { view, filters, page_size: size, columns, start_bar_open: isOpen, report_period: period } = await send("/me/desk");
  return { view, filters, page_size: size, columns, start_bar_open: isOpen, report_period: period };
}

// It is read once, however many changes come meanwhile: none of them is lost.
async function put(changes) {
  kept ??= load();
  try {
    Object.assign(await kept, changes);
  } catch (error) {
    kept = null;
    throw error;
  }
  const json = await kept;
  clearTimeout(timer);
  timer = setTimeout(() => send("/me/desk", { method: "PUT", json }).catch(() => null), AFTER);
}

// Nobody is told that it could not be kept: the next change tries again.
export const keepDesk = (changes) => put(changes).catch(() => null);
