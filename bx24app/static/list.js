// Keeps the list of callbacks up to date; the server renders it, rows that did not change are left alone.
import { Problem, request, send } from "./api.js";

const LIVE = ["queued", "dialling", "started", "answered"];
const FAST = 1000;
const SLOWEST = 15000;
const list = document.getElementById("callbacks");
const connection = document.getElementById("connection");
const announcer = document.getElementById("announcer");
let etag = "";
let pause = FAST;
let timer = null;
let running = false;

const rows = () => [...list.querySelectorAll(".callback")];

export function localTime(moment) {
  const { lang } = document.documentElement;
  // The reader's own habits where they read the page's language: 23/11/2026 or 11/23/26.
  const locale = navigator.languages.find((one) => one.startsWith(lang)) ?? lang;
  return new Intl.DateTimeFormat(locale, { dateStyle: "short", timeStyle: "short" }).format(new Date(moment));
}

export function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) time.textContent = localTime(time.dateTime);
}

function adopt(fresh, old) {
  // A row that the user works with keeps its opened details; its focus goes to the same action.
  const focused = old.contains(document.activeElement) ? document.activeElement.dataset.action : null;
  const opened = !old.querySelector("[data-details]").hidden;
  old.replaceWith(fresh);
  if (opened) toggleDetails(fresh);
  if (focused) (fresh.querySelector(`[data-action="${focused}"]`) ?? fresh.querySelector("button"))?.focus();
}

function announce(fresh, old) {
  if (!old || old.dataset.state !== fresh.dataset.state) announcer.textContent = fresh.dataset.announcement;
}

function merge(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html");
  localTimes(fresh);
  const known = new Map(rows().map((row) => [row.dataset.id, row]));
  const target = list.querySelector("ul.callbacks");
  const source = fresh.querySelector("ul.callbacks");
  if (!target || !source) {
    list.replaceChildren(...fresh.body.childNodes);
    rows().forEach((row) => announce(row, known.get(row.dataset.id)));
    return;
  }
  const wanted = [...source.children];
  const ids = new Set(wanted.map((row) => row.dataset.id));
  known.forEach((row, id) => ids.has(id) || row.remove());
  wanted.forEach((row, position) => {
    const old = known.get(row.dataset.id);
    if (old && old.dataset.version === row.dataset.version) return;
    announce(row, old);
    if (old) adopt(row, old);
    else target.insertBefore(row, target.children[position] ?? null);
  });
}

async function poll() {
  const response = await request("/desk/callbacks", { headers: etag ? { "If-None-Match": etag } : {} });
  connection.hidden = true;
  if (response.status === 304) {
    const live = rows().some((row) => LIVE.includes(row.dataset.state));
    pause = live ? FAST : Math.min(pause * 1.5, SLOWEST);
    return;
  }
  etag = response.headers.get("ETag") ?? "";
  merge(await response.text());
  pause = FAST;
}

async function tick() {
  if (running || document.hidden) return;
  running = true;
  clearTimeout(timer);
  try {
    await poll();
  } catch (error) {
    connection.hidden = false;
    if (error instanceof Problem && error.status === 401) connection.textContent = error.message;
    pause = Math.min(pause * 2, SLOWEST);
  } finally {
    running = false;
    if (!document.hidden) timer = setTimeout(tick, pause);
  }
}

export function lookNow() {
  pause = FAST;
  return tick();
}

export function highlight(id) {
  const row = document.getElementById(`callback-${id}`);
  if (!row) return;
  row.classList.add("highlighted");
  row.scrollIntoView({ block: "center" });
  setTimeout(() => row.classList.remove("highlighted"), 4000);
}

async function toggleDetails(row) {
  const details = row.querySelector("[data-details]");
  const button = row.querySelector('[data-action="details"]');
  details.hidden = !details.hidden;
  button.setAttribute("aria-expanded", String(!details.hidden));
  if (details.hidden) return;
  try {
    const response = await request(`/desk/callbacks/${row.dataset.id}`);
    details.innerHTML = await response.text();
    localTimes(details);
  } catch (error) {
    details.textContent = error instanceof Problem ? error.message : connection.textContent;
  }
}

const OUTCOMES = ["reached", "not_reached", "dial_again"];

async function act(row, action) {
  const path = `/callbacks/${row.dataset.id}`;
  if (action === "details") return toggleDetails(row);
  if (action === "dial_again" && !window.confirm(list.dataset.confirmAgain)) return null;
  if (OUTCOMES.includes(action)) await send(`${path}/resolve`, { method: "POST", json: { outcome: action } });
  else if (action === "now") await send(path, { method: "PATCH", json: { scheduled_at: new Date().toISOString() } });
  else await send(`${path}/${action}`, { method: "POST" });
  return lookNow();
}

async function clicked(event) {
  const button = event.target.closest("button[data-action]");
  if (!button) return;
  const row = button.closest(".callback");
  button.disabled = true;
  try {
    await act(row, button.dataset.action);
  } catch (error) {
    const note = row.querySelector("[data-row-problem]");
    note.textContent = error instanceof Problem ? error.message : connection.textContent;
    note.hidden = false;
    if (error.id) highlight(error.id);
  } finally {
    button.disabled = false;
  }
}

export function follow() {
  localTimes(list);
  list.addEventListener("click", clicked);
  document.addEventListener("visibilitychange", () => document.hidden || lookNow());
  lookNow();
}
