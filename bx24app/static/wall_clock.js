// Between a time of the reader's own clock ("2026-11-27T09:15") and the moment that it means.
import { timeFormat } from "./ui.js";

const PARTS = { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" };

// What the reader's clock shows at a moment.
export function clockOf(moment) {
  const { timeZone } = timeFormat().resolvedOptions();
  const format = new Intl.DateTimeFormat("en", { ...PARTS, hourCycle: "h23", timeZone });
  const { year, month, day, hour, minute } = Object.fromEntries(format.formatToParts(moment).map(({ type, value }) => [type, value]));
  return `${year}-${month}-${day}T${hour}:${minute}`;
}

// The moment; of an hour that the clock skips the one before or after it, and an invalid one for what is no time.
export function momentOf(clock) {
  const wall = new Date(`${clock}Z`);
  if (Number.isNaN(wall.valueOf())) return wall;
  let at = wall;
  // How far the clock is from UTC depends on the moment, which is close enough after the first turn.
  for (let turn = 0; turn < 2; turn += 1) at = new Date(at.valueOf() + wall.valueOf() - Date.parse(`${clockOf(at)}Z`));
  return at;
}
