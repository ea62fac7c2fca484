// Whoever has a callback planned is not rung beside it unasked: the manager chooses between now and both.
import { send } from "../api.js";
import { byId, localTime } from "../ui.js";

const ENOUGH_DIGITS = 5;

// A number in national form is recognised by its end: 030 901820 is +49 30 901820.
const sameNumber = (e164, typed) => e164.endsWith(typed.replace(/\D/g, "").replace(/^0+/, ""));

async function plannedAlready(typed) {
  const digits = typed.replace(/\D/g, "").slice(-7);
  if (digits.length < ENOUGH_DIGITS) return null;
  const { callbacks } = await send(`/callbacks?state=scheduled&q=${digits}&limit=20`);
  return callbacks.find((callback) => sameNumber(callback.to_number, typed)) ?? null;
}

// Tells whether there is one, and asks then.
export async function offerPlanned(typed) {
  const callback = await plannedAlready(typed);
  if (!callback) return false;
  const words = byId("planned-words");
  words.textContent = words.dataset.words.replace("{moment}", localTime(callback.scheduled_at));
  byId("planned-now").dataset.id = callback.id;
  byId("planned-choice").hidden = false;
  byId("planned-now").focus();
  return true;
}
