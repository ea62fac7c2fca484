// Talks with the portal's page around our frame: METHOD:JSON:CALLBACK:SID and CALLBACK:JSON, both strings.
// Outside of a portal every command does nothing, so that the page stays usable.

const waiting = new Map();
let around = null;
let counter = 0;
let launch = null;

// The portal around this page, as the name of our window tells it.
export function portal() {
  around ??= connect();
  return around;
}

function connect() {
  const [domain, protocol, sid] = window.name.split("|");
  const isInside = window.parent !== window && Boolean(domain && sid);
  const scheme = protocol === "1" ? "https" : "http";
  const origin = `${scheme}://${domain ?? ""}`.replace(scheme === "https" ? /:443$/ : /:80$/, "");
  if (isInside) window.addEventListener("message", receive);
  return { domain, protocol, sid, origin, isInside };
}

function receive(event) {
  const { origin } = portal();
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

export function send(method, parameters, callback = "") {
  const { sid, origin } = portal();
  const json = parameters === undefined ? "" : JSON.stringify(parameters);
  window.parent.postMessage(`${method}:${json}:${callback}:${sid}`, origin);
}

// The portal is silent about what it does not know: a command that wants an answer needs a time limit.
export function ask(method, parameters, limit = 10000) {
  if (!portal().isInside) return Promise.resolve(null);
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
  if (portal().isInside) send("setInstallFinish", {});
}

export function refreshAuth() {
  return ask("refreshAuth", {});
}

// In a growing frame the portal's page scrolls, and not ours.
export function scrollToTop() {
  if (portal().isInside) send("setScroll", { scroll: 0 });
}

// Inside of a placement's own commands (docs: widgets/crm/list-menu.md): the portal reads its list anew.
export function reloadData() {
  return ask("reloadData", {}, 1000);
}

// Closes the slider in which this page stands.
export function closeApplication() {
  if (portal().isInside) send("closeApplication");
}

// A page in a slider that a menu has opened, and not in a card.
export function opensFromMenu(placement = "") {
  return /_(LIST|TIMELINE)_MENU$/.test(placement) && portal().isInside;
}

export function phone(number) {
  const { isInside } = portal();
  if (isInside) send("imPhoneTo", { phone: number });
  return isInside;
}

// Keeps the frame as high as its content, growing and shrinking.
export function followHeight() {
  if (!portal().isInside) return;
  let last = 0;
  new ResizeObserver(() => {
    const height = Math.ceil(document.body.getBoundingClientRect().height) + 1;
    if (height === last) return;
    last = height;
    send("resizeWindow", { width: "100%", height: Math.max(height, 300) });
  }).observe(document.body);
}
