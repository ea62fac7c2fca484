// Another time for a waiting callback, chosen where it stands. The day and the time are those of the reader's own clock.
import { send } from "../api.js";
import { say, timeFormat } from "../ui.js";
import { clockOf, momentOf } from "../wall_clock.js";

const STEP = 15 * 60_000;
const DAY = 24 * 60 * 60_000;

function fillTimes(select, chosen) {
  const words = timeFormat({ timeStyle: "short", timeZone: "UTC" });
  for (let at = 0; at < DAY; at += STEP) {
    const time = new Date(at).toISOString().slice(11, 16);
    select.add(new Option(words.format(new Date(at)), time, false, time === chosen));
  }
}

// Opens the form with the next quarter of an hour that is at least half an hour away.
export function openMove(form) {
  const [date, time] = [form.elements.date, form.elements.time];
  if (!time.options.length) {
    const soon = clockOf(new Date(Math.ceil((Date.now() + STEP * 2) / STEP) * STEP));
    date.value = soon.slice(0, 10);
    date.min = clockOf(new Date()).slice(0, 10);
    fillTimes(time, soon.slice(11));
  }
  form.hidden = false;
  date.focus();
}

export async function move(form, id) {
  const error = form.querySelector("[data-move-error]");
  const { date, time } = form.elements;
  if (!date.value) {
    say(error, error.dataset.empty);
    error.className = "error";
    date.focus();
    return;
  }
  const at = momentOf(`${date.value}T${time.value}`);
  await send(`/callbacks/${id}`, { method: "PATCH", json: { scheduled_at: at.toISOString() } });
  form.hidden = true;
}
