// The desk: the form that starts callbacks.
import { Problem, send } from "./api.js";
import * as frame from "./frame.js";
import { follow, highlight, localTime, lookNow } from "./list.js";

const byId = (id) => document.getElementById(id);
const [desk, form, call, result] = [byId("desk"), byId("call-form"), byId("call"), byId("result")];
const [line, known, later] = [byId("line_id"), byId("known-number"), byId("later")];
// One key per intended call: pressing again after a lost connection starts nothing twice.
let key = crypto.randomUUID();

const planned = () => later.getAttribute("aria-expanded") === "true";
const chosenNumber = () => known?.value || byId("to_number").value.trim();

function say(note, text, kind = "") {
  clearTimeout(note.fading);
  // What went well is soon overtaken by the list beside it; what went wrong stays.
  if (kind === "success") note.fading = setTimeout(() => say(note, ""), 6000);
  note.textContent = text;
  note.className = `note ${kind}`;
  note.hidden = !text;
}

function fieldOf(name) {
  if (name === "to_number" && known?.value) return known;
  return form.querySelector(`[name="${name}"]`);
}

function clearErrors() {
  for (const note of form.querySelectorAll(".error")) note.hidden = true;
  for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  say(result, "");
}

function showErrors(errors) {
  const shown = errors.filter(({ field, message }) => {
    const [input, note] = [fieldOf(field), byId(`${field}-error`)];
    if (!input || !note) return false;
    input.setAttribute("aria-invalid", "true");
    note.textContent = message;
    note.hidden = false;
    return true;
  });
  if (shown.length) fieldOf(shown[0].field).focus();
  return shown.length > 0;
}

function body() {
  const asked = {
    to_number: chosenNumber(),
    voice_id: byId("voice_id").value,
    text: byId("text").value,
  };
  if (line.value) asked.line_id = line.value;
  if (desk.dataset.entityId > 0) {
    asked.crm_entity = { type: desk.dataset.entityType, id: Number(desk.dataset.entityId) };
  }
  if (planned()) asked.scheduled_at = new Date(byId("scheduled_at").value).toISOString();
  return asked;
}

function failed(error) {
  if (!(error instanceof Problem)) return say(result, result.dataset.offline, "warning");
  // Answered, so the next press is a new intention.
  key = crypto.randomUUID();
  const duplicate = error.code === "duplicate_open_callback";
  if (duplicate || !showErrors(error.errors)) say(result, error.message, "failure");
  if (duplicate) highlight(error.id);
  return null;
}

// A number in national form is recognised by its end: 030 901820 is +49 30 901820.
const sameNumber = (e164, typed) => e164.endsWith(typed.replace(/\D/g, "").replace(/^0+/, ""));

async function plannedAlready() {
  const typed = chosenNumber();
  const digits = typed.replace(/\D/g, "").slice(-7);
  if (digits.length < 5) return null;
  const { callbacks } = await send(`/callbacks?state=scheduled&q=${digits}&limit=20`);
  return callbacks.find((callback) => sameNumber(callback.to_number, typed)) ?? null;
}

function offerChoice(callback) {
  const words = byId("planned-words");
  words.textContent = words.dataset.words.replace("{moment}", localTime(callback.scheduled_at));
  byId("planned-now").dataset.id = callback.id;
  byId("planned-choice").hidden = false;
  byId("planned-now").focus();
}

async function busily(work) {
  call.disabled = true;
  call.setAttribute("aria-busy", "true");
  try {
    await work();
  } catch (error) {
    failed(error);
  } finally {
    call.disabled = false;
    call.removeAttribute("aria-busy");
  }
}

async function start() {
  byId("planned-choice").hidden = true;
  await send("/callbacks", { method: "POST", json: body(), headers: { "Idempotency-Key": key } });
  key = crypto.randomUUID();
  say(result, planned() ? result.dataset.planned : result.dataset.accepted, "success");
  if (planned()) toggleLater();
  await lookNow();
}

async function bringForward(id) {
  byId("planned-choice").hidden = true;
  await send(`/callbacks/${id}`, { method: "PATCH", json: { scheduled_at: new Date().toISOString() } });
  say(result, result.dataset.accepted, "success");
  await lookNow();
}

function submit(event) {
  event.preventDefault();
  if (call.disabled) return null;
  clearErrors();
  const time = byId("scheduled_at").value;
  if (planned() && !(new Date(time) > new Date())) {
    return showErrors([{ field: "scheduled_at", message: result.dataset.needTime }]);
  }
  return busily(async () => {
    const waiting = planned() ? null : await plannedAlready();
    return waiting ? offerChoice(waiting) : start();
  });
}

function toggleLater() {
  const open = !planned();
  later.setAttribute("aria-expanded", String(open));
  byId("later-field").hidden = !open;
  call.textContent = open ? call.dataset.later : call.dataset.now;
  if (open) byId("scheduled_at").focus();
}

function showWhoRings() {
  const hint = byId("who-rings");
  const chosen = line.selectedOptions[0];
  const text = chosen?.hasAttribute("data-foreign") ? hint.dataset.foreign : hint.dataset.ours;
  hint.textContent = chosen ? text.replace("{line}", chosen.textContent) : "";
}

// Without a line nothing can be dialled, and the note says what to do.
function showWhetherToCall() {
  const none = line.options.length === 0;
  call.disabled = none;
  byId("no-lines").hidden = !none;
}

function callFromOwnPhone() {
  clearErrors();
  const number = chosenNumber();
  if (!number) return byId("to_number").focus();
  const done = frame.phone(number);
  return say(result, done ? result.dataset.own.replace("{number}", number) : result.dataset.outside);
}

async function refresh(button, name, select, keepFirst) {
  button.setAttribute("aria-busy", "true");
  button.disabled = true;
  try {
    const { [name]: items } = await send(`/${name}?refresh=1`);
    const chosen = select.value;
    const foreign = new Set([...select.options].filter((o) => o.hasAttribute("data-foreign")).map((o) => o.value));
    const kept = keepFirst ? [select.options[0]] : [];
    select.replaceChildren(...kept, ...items.map(({ id, name: text }) => {
      const option = new Option(text, id, false, id === chosen);
      option.toggleAttribute("data-foreign", foreign.has(id));
      return option;
    }));
    select.disabled = select.options.length === 0;
    showWhoRings();
    showWhetherToCall();
  } catch (error) {
    say(result, error instanceof Problem ? error.message : result.dataset.offline, "warning");
  } finally {
    button.removeAttribute("aria-busy");
    button.disabled = false;
  }
}

async function resumeLine(event) {
  const button = event.target.closest("[data-resume]");
  if (!button) return;
  try {
    await send(`/lines/${encodeURIComponent(button.dataset.resume)}/resume`, { method: "POST" });
    button.closest("[data-stopped]").remove();
    await lookNow();
  } catch (error) {
    say(result, error instanceof Problem ? error.message : result.dataset.offline, "warning");
  }
}

form.addEventListener("submit", submit);
byId("planned-now").addEventListener("click", (event) => busily(() => bringForward(event.target.dataset.id)));
byId("planned-both").addEventListener("click", () => busily(start));
desk.addEventListener("click", resumeLine);
later.addEventListener("click", toggleLater);
line.addEventListener("change", showWhoRings);
known?.addEventListener("change", () => {
  byId("number-field").hidden = Boolean(known.value);
  if (!known.value) byId("to_number").focus();
});
byId("own-phone").addEventListener("click", callFromOwnPhone);
byId("refresh-lines").addEventListener("click", (event) => refresh(event.currentTarget, "lines", line, false));
byId("refresh-voices").addEventListener("click", (event) => refresh(event.currentTarget, "voices", byId("voice_id"), true));

showWhoRings();
showWhetherToCall();
follow();
frame.followHeight();
frame.init();
