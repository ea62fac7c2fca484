// The hosted form: sends the request with a proof of work, says what is wrong at its field, then shows the status.
import * as frame from "./frame.js";
import * as proof from "./proof.js";
import { follow } from "./status.js";
import { localise } from "./times.js";

const byId = (id) => document.getElementById(id);
const [form, send, note, bar] = [byId("request"), byId("send"), byId("note"), byId("progress")];
const { lang } = document.documentElement;
const ask = (url, options = {}) =>
  fetch(url, { credentials: "omit", cache: "no-store", ...options, headers: { "Accept-Language": lang, ...options.headers } });
const QUICKEST = 2500;
let challenge = null;
let solving = null;

function say(text, kind = "") {
  note.textContent = text;
  note.className = `note ${kind}`;
  note.hidden = !text;
}

// Fetched with the page: its age shows that a person has filled in the form. Worked at from the visitor's first word on, so
// that it is done with their last one.
function fetchChallenge() {
  return ask(form.dataset.challenge)
    .then((response) => (response.ok ? response.json() : Promise.reject(new Error(`HTTP ${response.status}`))))
    .then((challenge) => ({ challenge, since: Date.now() }));
}

function prepare() {
  if (!proof.isPossible()) return Promise.resolve(null);
  challenge ??= fetchChallenge();
  solving ??= challenge.then(async ({ challenge: given, since }) => {
    const solved = await proof.solve(given, (share) => { bar.value = share; });
    return { ...solved, since };
  });
  solving.catch(forget);
  return solving;
}

function forget() {
  challenge = solving = null;
}

async function proven() {
  let solved = await prepare();
  if (solved && proof.expired(solved)) {
    forget();
    solved = await prepare();
  }
  // The server believes nobody who is quicker than this.
  if (solved) await new Promise((resolve) => { setTimeout(resolve, solved.since + QUICKEST - Date.now()); });
  return solved;
}

const fields = () => [...form.querySelectorAll("input:not([type=hidden]), select")].filter((field) => byId(`${field.name}-error`));

function mark(field, message) {
  const error = byId(`${field.name}-error`);
  error.textContent = message;
  error.hidden = !message;
  if (message) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
}

function showErrors(errors) {
  const wrong = fields().filter((field) => {
    const found = errors.find((error) => error.field === field.name);
    if (found) mark(field, found.message);
    return found;
  });
  wrong[0]?.focus();
  return wrong.length > 0;
}

function missing() {
  const empty = ({ type, checked, value }) => (type === "checkbox" ? !checked : !value.trim());
  return fields().filter((field) => field.required && empty(field)).map((field) => ({ field: field.name, message: field.dataset.missing }));
}

function body(solved) {
  const values = Object.fromEntries(new FormData(form));
  const consent = form.elements.namedItem("consent");
  if (consent) values.consent = consent.checked;
  values.page = frame.page() || values.page || "";
  if (!values.scheduled_at) delete values.scheduled_at;
  if (solved) {
    values.altcha = solved.payload;
    delete values.token;
  }
  return values;
}

// The times on offer have changed since the page was opened: the server writes them anew.
async function renewTimes() {
  const fresh = new DOMParser().parseFromString(await (await ask(location.pathname + location.search)).text(), "text/html");
  for (const id of ["waiting", "when"]) {
    const [old, now] = [byId(id), fresh.getElementById(id)];
    if (old && now) old.replaceWith(now);
  }
  localise(form);
}

async function refused(response) {
  const problem = await response.json().catch(() => ({}));
  // A proof is good for one request.
  forget();
  const renewed = problem.code === "outside_hours" ? renewTimes() : null;
  await renewed?.catch(() => null);
  if (!showErrors(problem.errors ?? [])) say(problem.detail ?? form.dataset.failed, "failure");
}

async function submit(event) {
  event.preventDefault();
  if (send.disabled) return;
  fields().forEach((field) => mark(field, ""));
  say("");
  if (showErrors(missing())) return;
  send.disabled = true;
  send.textContent = send.dataset.busy;
  bar.hidden = !proof.isPossible();
  try {
    const json = JSON.stringify(body(await proven()));
    const response = await ask(form.action, { method: "POST", headers: { "Content-Type": "application/json" }, body: json });
    if (response.ok) await accepted(await response.json());
    else await refused(response);
  } catch {
    // The key in the form makes a repeat harmless.
    say(form.dataset.offline, "warning");
  } finally {
    send.disabled = false;
    send.textContent = send.dataset.idle;
    bar.hidden = true;
  }
}

async function accepted({ status_url: url }) {
  await follow(document.querySelector("main"), new URL(url, location.href).pathname);
}

form.noValidate = true;
form.addEventListener("submit", submit);
form.addEventListener("input", ({ target }) => {
  if (target.hasAttribute("aria-invalid")) mark(target, "");
  prepare().catch(() => null);
});
localise(document);
if (proof.isPossible()) challenge = fetchChallenge();
challenge?.catch(forget);
frame.begin({ opened: () => (fields()[0] ?? document.querySelector("h1"))?.focus() });
