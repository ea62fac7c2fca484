// Requests to our own server with the page's ticket. One that has expired, or that proves too little for what is asked
// (docs/api.md), is renewed once, without losing anything.
import * as frame from "./frame.js";
import { byId, letGo, localTimes, parse } from "./ui.js";

const EARLY = 5 * 60 * 1000;
const meta = (name) => document.querySelector(`meta[name="${name}"]`);
let renewing = null;

export class Problem extends Error {
  constructor(status, body, retryAfter = 0) {
    super(body.detail ?? `HTTP ${status}`);
    this.status = status;
    // Seconds after which the server takes it, 0 where it did not say so.
    this.retryAfter = retryAfter;
    this.code = body.code ?? "";
    this.errors = body.errors ?? [];
    this.id = body.id ?? null;
  }
}

async function renew() {
  const [launch, auth] = [await frame.init(), await frame.refreshAuth()];
  if (!launch || !auth) return false;
  const { domain, protocol, sid } = frame.portal();
  const query = new URLSearchParams({ DOMAIN: domain, PROTOCOL: protocol, LANG: launch.LANG ?? "en", APP_SID: sid });
  const body = new URLSearchParams({
    AUTH_ID: auth.AUTH_ID,
    AUTH_EXPIRES: auth.AUTH_EXPIRES,
    REFRESH_ID: auth.REFRESH_ID,
    member_id: launch.MEMBER_ID,
    PLACEMENT: launch.PLACEMENT ?? "DEFAULT",
    PLACEMENT_OPTIONS: JSON.stringify(launch.PLACEMENT_OPTIONS || {}),
  });
  // While others at this address send what is refused, the old ticket tells this page apart.
  const response = await once(`/session?${query}`, { method: "POST", body });
  if (!response.ok) return false;
  const { ticket, expires_at: expires } = await response.json();
  meta("bx24app-ticket").content = ticket;
  meta("bx24app-ticket-expires").content = expires;
  return true;
}

function renewOnce() {
  renewing ??= renew().catch(() => false).finally(() => { renewing = null; });
  return renewing;
}

function expiresSoon() {
  // No time is NaN, which is not less than anything.
  return Date.parse(meta("bx24app-ticket-expires")?.content) - Date.now() < EARLY;
}

async function once(path, { method, json, body, headers }) {
  return fetch(path, {
    method,
    headers: {
      Authorization: `Bearer ${meta("bx24app-ticket")?.content ?? ""}`,
      "Accept-Language": document.documentElement.lang,
      ...(json === undefined ? {} : { "Content-Type": "application/json" }),
      ...headers,
    },
    body: json === undefined ? body : JSON.stringify(json),
    credentials: "omit",
    cache: "no-store",
  });
}

// Returns the Response (ok or 304); throws Problem for a refusal, TypeError when there is no connection.
export async function request(path, { method = "GET", json, body, headers = {} } = {}) {
  if (expiresSoon()) await renewOnce();
  let response = await once(path, { method, json, body, headers });
  if (response.status === 401 && (await renewOnce())) {
    response = await once(path, { method, json, body, headers });
  }
  if (!response.ok && response.status !== 304) {
    const retryAfter = Number(response.headers.get("Retry-After")) || 0;
    throw new Problem(response.status, await response.json().catch(() => ({})), retryAfter);
  }
  return response;
}

// The JSON that the API answers, null where it answers nothing.
export async function send(path, options) {
  const response = await request(`/api/v1${path}`, options);
  return response.status === 204 ? null : response.json();
}

// What has changed of a page since the answer with this ETag: a document and its ETag; null where nothing has.
export async function fetchChange(path, etag) {
  const response = await request(path, { headers: etag ? { "If-None-Match": etag } : {} });
  return response.status === 304 ? null : { etag: response.headers.get("ETag") ?? "", page: parse(await response.text()) };
}

// A piece of the page as the server writes it, with local times; it may be shown at once.
export async function fetchFragment(path, options) {
  const parsed = parse(await (await request(path, options)).text());
  await letGo();
  localTimes(parsed);
  const fragment = document.createDocumentFragment();
  fragment.append(...parsed.body.childNodes);
  return fragment;
}

export function wordsFor(error, offline = byId("main").dataset.offline) {
  return error instanceof Problem ? error.message : offline;
}
