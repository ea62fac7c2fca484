// What may be done with a callback, by the names that buttons carry in `data-action`.
import { send } from "./api.js";

const OUTCOMES = ["reached", "not_reached", "dial_again"];

export function callNow(id) {
  return send(`/callbacks/${id}`, { method: "PATCH", json: { scheduled_at: new Date().toISOString() } });
}

// `action`: an outcome that a person tells, `now` for a scheduled one, `cancel`, or `retry`.
export function act(id, action) {
  if (OUTCOMES.includes(action)) return send(`/callbacks/${id}/resolve`, { method: "POST", json: { outcome: action } });
  if (action === "now") return callNow(id);
  return send(`/callbacks/${id}/${action}`, { method: "POST" });
}
