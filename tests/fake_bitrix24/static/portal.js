// The portal's side of the frame: opens it by a form post, and answers its messages as strings.
const post = (path, body) => fetch(path, { method: "POST", body });

function openFrame(layout) {
  const launch = JSON.parse(layout.querySelector(".launch").textContent);
  const sid = launch.query.APP_SID;
  const frame = document.createElement("iframe");
  frame.name = `${location.host}|${location.protocol === "https:" ? 1 : 0}|${sid}`;
  frame.id = `appframe_${sid}`;
  frame.className = "app-frame";
  frame.title = "Application";
  frame.allow = "geolocation *; microphone *; camera *; autoplay *;";
  layout.append(frame);
  const form = document.createElement("form");
  Object.assign(form, { method: "post", action: launch.url, target: frame.name });
  for (const [name, value] of Object.entries(launch.form)) {
    form.append(Object.assign(document.createElement("input"), { type: "hidden", name, value }));
  }
  document.body.append(form);
  form.submit();
  form.remove();
  return { launch, sid, frame, origin: new URL(launch.handler).origin, layout };
}

// METHOD:JSON:CALLBACK:SID; the JSON may hold colons and may be missing altogether.
function parse(data) {
  if (typeof data === "object" && data) {
    return { method: data.method, parameters: data.params || [], callback: data.callback, sid: data.appSid };
  }
  const parts = String(data).split(":");
  const [method, sid, callback] = [parts.shift(), parts.pop(), parts.pop()];
  const json = parts.join(":");
  return { method, parameters: json ? JSON.parse(json) : [], callback, sid };
}

const userOptions = {};
const appOptions = {};
const filled = (object) => (Object.keys(object).length ? object : []);

function initData({ launch }) {
  const data = {
    LANG: launch.query.LANG,
    DOMAIN: location.host,
    PROTOCOL: location.protocol === "https:" ? 1 : 0,
    PATH: "/rest",
    AUTH_ID: launch.form.AUTH_ID,
    REFRESH_ID: launch.form.REFRESH_ID,
    AUTH_EXPIRES: launch.form.AUTH_EXPIRES,
    MEMBER_ID: launch.form.member_id,
    FIRST_RUN: launch.firstRun,
    IS_ADMIN: launch.isAdmin,
    INSTALL: launch.install,
    USER_OPTIONS: filled(userOptions),
    APP_OPTIONS: filled(appOptions),
    PLACEMENT: launch.form.PLACEMENT,
    PLACEMENT_OPTIONS: launch.options,
  };
  launch.firstRun = false;
  return data;
}

function resize({ frame, layout }, { width, height }) {
  frame.style.height = `${height}px`;
  layout.style.minHeight = "0";
  if (width !== "100%") frame.style.width = `${width}px`;
  return { width: frame.offsetWidth, height: frame.offsetHeight };
}

function softphone({ phone }) {
  const box = document.getElementById("softphone");
  box.textContent = `softphone calling ${phone}`;
  box.hidden = false;
}

// The portal's own dialog; whoever cancels it gets no answer (docs: sdk/bx24-js-sdk/system-dialogues/bx24-select-users.md).
function selectUser({ mult }, reply) {
  const dialog = document.getElementById("people");
  dialog.returnValue = "";
  for (const box of dialog.querySelectorAll("input")) box.checked = false;
  dialog.onclose = () => {
    const chosen = [...dialog.querySelectorAll("input:checked")].map((box) => ({
      id: box.value, name: box.dataset.name, photo: "", position: "", url: `/company/personal/user/${box.value}/`,
      sub: false, sup: false,
    }));
    if (dialog.returnValue === "select" && chosen.length) reply(mult ? chosen : chosen[0]);
  };
  dialog.showModal();
}

// Each answers (frame, parameters, reply); silence is an answer too.
const COMMANDS = {
  getInitData: (f, p, reply) => reply(initData(f)),
  setInstall: (f, p, reply) => reply(p),
  async setInstallFinish(f) {
    if (!f.launch.install) return;
    await post(`/frame/install-finish/${f.launch.clientId}`);
    const url = new URL(location);
    url.searchParams.set("install_finished", f.launch.isAdmin ? "Y" : "N");
    location.replace(url);
  },
  refreshAuth: async (f, p, reply) => reply(await (await post(`/frame/refresh-auth/${f.launch.clientId}`)).json()),
  resizeWindow: (f, p, reply) => reply(resize(f, p)),
  setTitle(f, p, reply) {
    if (f.launch.form.PLACEMENT !== "DEFAULT") return;
    document.getElementById("pagetitle").textContent = p.title;
    reply(p);
  },
  setScroll: (f, p, reply) => { window.scrollTo(0, p.scroll); reply(p); },
  reloadWindow: () => location.reload(),
  setUserOption: (f, p, reply) => { userOptions[p.name] = p.value; reply(p); },
  setAppOption(f, p, reply) {
    if (!f.launch.isAdmin) return;
    appOptions[p.name] = p.value;
    reply(appOptions);
  },
  selectUser: (f, p, reply) => selectUser(p, reply),
  imPhoneTo: (f, p) => softphone(p),
  openApplication: (f, p) => openSlider(f.launch.clientId, p),
  // The grid is read anew, and a slider closes (docs: widgets/crm/list-menu.md, bx24-close-application.md).
  reloadData: (f, p, reply) => reply([]),
  closeApplication(f) {
    f.layout.closest(".slider")?.remove();
  },
  getInterface: (f, p, reply) => reply({ command: [], event: [] }),
  openPath(f, p, reply) {
    const allowed = /^\/(crm\/(deal|lead|contact|company|type)|marketplace|company\/personal\/user\/\d+)\//;
    reply(allowed.test(p.path) ? { result: "close" } : { result: "error", errorCode: "PATH_NOT_AVAILABLE" });
  },
};

const frames = [...document.querySelectorAll(".app-frame-layout")].map(openFrame);
window.messages = [];
window.addEventListener("message", (event) => {
  const open = frames.find(({ frame }) => frame.contentWindow === event.source);
  if (!open || event.origin !== open.origin) return;
  const { method, parameters, callback, sid } = parse(event.data);
  if (sid !== open.sid) return;
  window.messages.push(method);
  const reply = (value) => {
    if (!callback) return;
    const json = value === undefined ? "" : JSON.stringify(value);
    open.frame.contentWindow.postMessage(`${callback}:${json}`, open.origin);
  };
  COMMANDS[method]?.(open, parameters, reply);
});

// The phones on screen.
const PHONES = {
  manager: { ringing_manager: ["Answer", "Refuse"], ringing_customer: ["Hang up"], talking: ["Hang up"] },
  customer: { ringing_customer: ["Answer", "Refuse"], talking: ["Hang up"] },
};
const ACTIONS = { Answer: "answers", Refuse: "refuses" };

function says(who, call) {
  if (call.state === `ringing_${who}`) return who === "manager" ? `${call.line} rings` : `${call.number} rings`;
  if (call.state === "talking") return "talking";
  return who === "manager" ? `hears: “${call.text}”, then waits for ${call.number}` : "";
}

function ring(who, calls) {
  const box = document.querySelector(`[data-phone="${who}"] .calls`);
  const mine = calls.filter((call) => PHONES[who][call.state]);
  const shown = mine.map((call) => `${call.id}${call.state}`).join();
  if (box.dataset.shown === shown) return;
  box.dataset.shown = shown;
  box.replaceChildren(...(mine.length ? [] : [Object.assign(document.createElement("p"), { textContent: "quiet" })]));
  for (const call of mine) {
    const item = document.createElement("div");
    item.append(Object.assign(document.createElement("p"), { textContent: says(who, call) }));
    for (const label of PHONES[who][call.state]) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: label });
      button.onclick = async () => {
        await post(`/demo/phones/${call.id}/${ACTIONS[label] ? `${who}-${ACTIONS[label]}` : "hang-up"}`);
        look();
      };
      item.append(button);
    }
    box.append(item);
  }
}

// The timeline of a card: a pressed button is blocked until its activity is updated (docs: configurable/structure/action.md).
const timeline = document.getElementById("timeline");
const blocked = new Map();
const make = (tag, textContent, more = {}) => Object.assign(document.createElement(tag), { textContent, ...more });

async function openSlider(clientId, parameters) {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(`/frame/open-application/${clientId}`, {
    method: "POST", body: JSON.stringify(parameters), headers,
  });
  const slider = make("div", "", { className: "app-frame-layout slider" });
  slider.append(make("script", await answer.text(), { className: "launch", type: "application/json" }));
  document.querySelector("main").prepend(slider);
  frames.push(openFrame(slider));
}

function activityButton(activity, item) {
  const key = `${activity.id} ${item.title}`;
  const button = make("button", item.title, { type: "button", disabled: blocked.get(key) === activity.revision });
  button.onclick = async () => {
    if (item.action.type === "openRestApp") {
      await openSlider(activity.client_id, { ...item.action.actionParams, activityId: String(activity.id) });
      return;
    }
    blocked.set(key, activity.revision);
    button.disabled = true;
    await post(`/crm/activity/${activity.id}/press`, new URLSearchParams({ label: item.title }));
  };
  return button;
}

function drawActivity(activity) {
  const { header, footer } = activity.layout;
  const box = make("article", "", { className: "activity" });
  box.append(make("h2", header?.title || "Call"));
  for (const tag of Object.values(header?.tags || {})) box.append(make("span", tag.title, { className: `tag ${tag.type}` }));
  if (activity.completed) box.append(make("span", "done", { className: "tag" }));
  for (const [title, text] of Object.entries(activity.texts)) box.append(make("p", `${title}: ${text}`));
  const items = [...Object.values(footer?.buttons || {}), ...Object.values(footer?.menu?.items || {})];
  box.append(...items.map((item) => activityButton(activity, item)));
  return box;
}

async function drawTimeline() {
  const listed = await fetch(timeline.dataset.url).then((answer) => answer.text()).catch(() => timeline.dataset.shown);
  if (!listed || timeline.dataset.shown === listed) return;
  timeline.dataset.shown = listed;
  timeline.replaceChildren(...JSON.parse(listed).map(drawActivity));
}

if (timeline) {
  setInterval(drawTimeline, 300);
  drawTimeline();
}

async function look() {
  const calls = await (await fetch("/demo/phones")).json().catch(() => []);
  for (const who of Object.keys(PHONES)) ring(who, calls);
}

setInterval(look, 500);
look();
