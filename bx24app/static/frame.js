// Talks with the portal's page around our frame: METHOD:JSON:CALLBACK:SID and CALLBACK:JSON, both strings.
// Outside of a portal every command does nothing, so that the page stays usable.

const [domain, protocol, sid] = window.name.split("|");
const inside = window.parent !== window && Boolean(domain && sid);
const scheme = protocol === "1" ? "https" : "http";
const origin = `${scheme}://${domain ?? ""}`.replace(scheme === "https" ? /:443$/ : /:80$/, "");
const waiting = new Map();
let counter = 0;

function receive(event) {
  if (event.source !== window.parent || event.origin !== origin || typeof event.data !== "string") return;
  const cut = event.data.indexOf(":");
  const answered = waiting.get(event.data.slice(0, cut));
  if (!answered) return;
  let value;
  try {
    value = JSON.parse(event.data.slice(cut + 1) || "null");
  } catch {
    return;
  }
  answered(value);
}

function send(method, parameters, callback = "") {
  const json = parameters === undefined ? "" : JSON.stringify(parameters);
  window.parent.postMessage(`${method}:${json}:${callback}:${sid}`, origin);
}

// The portal is silent about what it does not know: a command that wants an answer needs a time limit.
function ask(method, parameters, limit = 10000) {
  if (!inside) return Promise.resolve(null);
  const callback = `bx24app${++counter}${Math.random().toString(36).slice(2)}`;
  return new Promise((resolve) => {
    const timer = setTimeout(() => done(null), limit);
    function done(value) {
      clearTimeout(timer);
      waiting.delete(callback);
      resolve(value);
    }
    waiting.set(callback, done);
    send(method, parameters, callback);
  });
}

if (inside) window.addEventListener("message", receive);

let launch = null;

export const isInside = inside;
export const address = { domain, protocol, sid };

// What the page was opened with (getInitData); the first run must be acknowledged.
export function init() {
  launch ??= ask("getInitData").then(async (data) => {
    if (data?.FIRST_RUN) await ask("setInstall", { install: true }, 2000);
    return data;
  });
  return launch;
}

// The portal never answers this one: it opens the app anew.
export function finishInstallation() {
  if (inside) send("setInstallFinish", {});
}

export function refreshAuth() {
  return ask("refreshAuth", {});
}

export function phone(number) {
  if (inside) send("imPhoneTo", { phone: number });
  return inside;
}

// Keeps the frame as high as its content, growing and shrinking.
export function followHeight() {
  if (!inside) return;
  let last = 0;
  new ResizeObserver(() => {
    const height = Math.ceil(document.body.getBoundingClientRect().height) + 1;
    if (height === last) return;
    last = height;
    send("resizeWindow", { width: "100%", height: Math.max(height, 300) });
  }).observe(document.body);
}
