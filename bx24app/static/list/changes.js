// Brings a list up to date: rows that did not change are left alone, and nothing moves that somebody works with.
import { request } from "../api.js";
import { showTimes } from "../list.js";
import { byId, letGo, parse, skeleton } from "../ui.js";

const SKELETON_AFTER = 300;

// Nothing moves under somebody's hands.
function isHeld(list) {
  if (!list.part.dataset.first) return true;
  const isFocused = !list.hasActed && document.activeElement?.closest("[data-rows]");
  return Boolean(isFocused || list.part.querySelector('.under, [aria-expanded="true"], [data-pick]:checked'));
}

export function merge(list, fresh) {
  showTimes(fresh);
  const known = new Map(list.rows.map((row) => [row.dataset.id, row]));
  const [target, source] = [list.list.querySelector("tbody"), fresh.querySelector("tbody")];
  const wanted = [...(source?.children ?? [])];
  const holds = isHeld(list);
  wanted.forEach((row) => (holds && !known.has(row.dataset.id)) || list.announce(row, known.get(row.dataset.id)));
  if (!holds && !(target && source)) return replace(list, fresh);
  wanted.forEach((row) => adopt(row, known.get(row.dataset.id)));
  for (const count of fresh.querySelectorAll("[data-count]")) show(list, `[data-count="${count.dataset.count}"]`, count);
  list.part.dataset.attention = fresh.querySelector('[data-part="rows"]').dataset.attention;
  list.showAttention();
  if (holds) {
    const strip = fresh.querySelector("[data-strip]");
    if (!strip.hidden) list.part.querySelector("[data-strip]").replaceWith(strip);
    // On the first page what has come or gone is caught up with as soon as nothing is held.
    if (list.part.dataset.first) list.etag = "";
    return null;
  }
  list.hasActed = false;
  place(target, wanted, known);
  for (const name of ["quick", "foot"]) swap(list, fresh, name);
  Object.assign(list.part.dataset, { ...fresh.querySelector('[data-part="rows"]').dataset });
  list.part.querySelector("[data-strip]").hidden = true;
  return null;
}

// Rows that went go, those that came stand where they belong.
function place(target, wanted, known) {
  const ids = new Set(wanted.map((row) => row.dataset.id));
  known.forEach((row, id) => {
    if (ids.has(id)) return;
    const next = row.contains(document.activeElement) && (row.nextElementSibling ?? row.previousElementSibling);
    row.remove();
    if (next) next.querySelector("a.name")?.focus();
  });
  wanted.forEach((row, position) => {
    const now = byId(`callback-${row.dataset.id}`) ?? row;
    if (target.children[position] !== now) target.insertBefore(now, target.children[position] ?? null);
  });
}

// Nothing is written anew while the focus is in it.
function swap(list, fresh, name) {
  const [old, one] = [list.root, fresh].map((place) => place.querySelector(`[data-part="${name}"]`));
  if (old && one && !old.contains(document.activeElement) && !old.querySelector('[aria-expanded="true"]')) old.replaceWith(one);
}

function show(list, selector, { textContent }) {
  const place = list.root.querySelector(selector);
  if (place && place.textContent !== textContent) place.textContent = textContent;
}

// The focus stays in the part where it was: with the filter that is on now, with the search, or with the first row.
function replace(list, fresh) {
  const { root } = list;
  const at = root.contains(document.activeElement) && document.activeElement.closest("[data-part]")?.dataset.part;
  const chosen = root.querySelector("[data-chosen]");
  list.hasActed = false;
  if (chosen) chosen.textContent = fresh.querySelectorAll('[data-part="chips"] li').length || "";
  for (const part of fresh.querySelectorAll("[data-part]")) root.querySelector(`[data-part="${part.dataset.part}"]`)?.replaceWith(part);
  list.showAttention();
  if (!at || root.contains(document.activeElement)) return;
  const next = { quick: '[data-part="quick"] [aria-current]', chips: "[name=q]" }[at];
  root.querySelector(next ?? "a.name, [data-page]:enabled")?.focus();
}

// Where the answer takes its time, bars stand in the place of the rows. Null: another list was chosen meanwhile, and its
// answer counts, whichever comes first.
async function fetchList(list, opening) {
  const { part } = list;
  const isLast = () => list.opening === opening;
  const waits = setTimeout(() => isLast() && part.replaceChildren(skeleton()), SKELETON_AFTER);
  try {
    const response = await request(`/desk/callbacks?${opening.filters}&${opening.showing}`);
    const answer = [response.headers.get("ETag") ?? "", await response.text()];
    clearTimeout(waits);
    await letGo();
    return isLast() ? answer : null;
  } catch (error) {
    if (!isLast()) return null;
    part.replaceChildren(...opening.rows);
    throw error;
  } finally {
    clearTimeout(waits);
    if (isLast()) list.opening = null;
  }
}

// Another filter, order or page of the list, which then stands in the address.
export async function open(list, filters, { cursor = "", limit = "", columns = null, whole = "" } = {}) {
  const showing = new URLSearchParams(list.wanted.showing);
  const changed = Object.entries({ seen_at: "", cursor, whole, limit: limit || showing.get("limit"), columns: columns ?? showing.get("columns") });
  changed.forEach(([name, value]) => (value ? showing.set(name, value) : showing.delete(name)));
  const rows = list.opening?.rows ?? [...list.part.childNodes];
  list.opening = { filters, showing: String(showing), rows };
  const answer = await fetchList(list, list.opening);
  if (!answer) return;
  const fresh = parse(answer[1]);
  [list.etag] = answer;
  showTimes(fresh);
  replace(list, fresh);
  list.view?.setQuery(cursor ? `${filters}&cursor=${encodeURIComponent(cursor)}` : filters);
  (await list.tools()).opened();
}

// A changed row takes the place of the old one, unless somebody has something of it open; the focus goes to the same action.
function adopt(fresh, old) {
  if (!old || old.dataset.version === fresh.dataset.version) return;
  if (old.querySelector('[aria-expanded="true"]')) return;
  const focused = old.contains(document.activeElement) ? document.activeElement.dataset.action : null;
  const picked = old.querySelector("[data-pick]");
  if (picked?.checked) fresh.querySelector("[data-pick]").checked = true;
  const had = old.contains(document.activeElement);
  fresh.classList.add("changed");
  old.replaceWith(fresh);
  if (had) (fresh.querySelector(`[data-action="${focused}"]`) ?? fresh.querySelector("a.name, button"))?.focus();
}
