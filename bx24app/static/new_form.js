// Making a website form with one press: what the server proposes for this portal, with the few things that are asked.
import { send } from "./api.js";

// `country` is what the line tells, `chosen` what was asked because it does not.
export async function createForm({ settings, name, origin, line, country, chosen }) {
  const json = { ...settings, line_id: line, allowed_origins: origin ? [origin] : [], name: URL.parse?.(origin)?.hostname || name };
  if (json.hours) json.hours.zone ||= Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (!chosen && country) json.default_country = country;
  // The country is the portal's: whoever calls from a CRM card writes numbers as people do there, too.
  if (chosen) await send("/settings", { method: "PATCH", json: { default_country: chosen } });
  return send("/forms", { method: "POST", json });
}
