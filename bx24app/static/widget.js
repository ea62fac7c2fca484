// The website's button and the dialog with the hosted form. Served by /w/<form_key>/widget.js, which calls this
// function with the form's values; it runs on pages of others: no global name, no cookie, no inline style. Browsers of the
// last five years lack some of what is used here (a <dialog> before 2022, made stylesheets in Safari before 2023).
(config) => {
  const script = document.currentScript;
  // The website may load the script again, on each of its pages or with each part of one.
  const mark = `[data-callback-desk="${config.key}"]`;
  if (document.querySelector(mark)) return;
  const wanted = [document.documentElement.lang].concat(navigator.languages || navigator.language || [])
    .map((tag) => String(tag).toLowerCase().split(/[-_]/)[0]);
  const language = wanted.find((tag) => config.texts[tag]) ?? Object.keys(config.texts)[0];
  const texts = config.texts[language];
  const home = new URL(config.url).origin;
  const allowed = config.origins.includes(location.origin);
  if (!allowed) console.info(`Callback Desk: ${location.origin} is not among the form's websites; it opens in a tab.`);
  const address = `${config.url}?lang=${language}`;
  const css = `
    :host { all: initial !important; position: fixed !important; inset: auto 0 0 auto !important; z-index: 2147483000 !important;
      font: 16px/24px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif !important; }
    :host([hidden]) { display: none !important; }
    button { font: inherit; cursor: pointer; border: 0; }
    .open { position: fixed; inset-block-end: 24px; inset-inline-end: 24px; display: flex; align-items: center; gap: 10px;
      min-block-size: 52px; max-inline-size: calc(100vw - 48px); padding: 8px 22px 8px 18px; border-radius: 26px; font-size: 19px; font-weight: 700;
      background: var(--accent); color: var(--on-accent); box-shadow: 0 2px 6px rgb(0 0 0 / .2), 0 8px 24px rgb(0 0 0 / .18); }
    .open:hover { filter: brightness(.94); }
    .open.left { inset-inline: 24px auto; }
    svg { inline-size: 22px; block-size: 22px; flex: none; fill: currentColor; }
    :focus-visible { outline: 3px solid #fff; outline-offset: -4px; box-shadow: 0 0 0 3px #111; }
    dialog { box-sizing: border-box; inline-size: 420px; max-inline-size: calc(100vw - 32px);
      max-block-size: calc(100vh - 64px); max-block-size: calc(100dvh - min(10dvh, 96px) - 16px); margin: 48px auto auto;
      margin: min(10dvh, 96px) auto auto; padding: 0; border: 0; border-radius: 14px; overflow: hidden; background: #fff; color: #222;
      box-shadow: 0 12px 48px rgb(0 0 0 / .35); }
    dialog::backdrop { background: rgb(10 20 30 / .5); }
    .close { position: absolute; inset-block-start: 6px; inset-inline-end: 6px; inline-size: 44px; block-size: 44px;
      border-radius: 22px; background: transparent; color: #444; display: grid; place-items: center; }
    .close:hover { background: #eee; }
    .close svg { inline-size: 18px; block-size: 18px; fill: none; stroke: currentColor; stroke-width: 2; stroke-linecap: round; }
    iframe { display: block; inline-size: 100%; block-size: var(--height, 460px); max-block-size: inherit; border: 0; }
    p { margin: 0; padding: 24px 64px 24px 24px; }
    a { color: #0154c8; }
    [hidden] { display: none; }
    @media (max-width: 480px) {
      dialog { inline-size: 100vw; max-inline-size: none; block-size: 100vh; block-size: 100dvh; max-block-size: none; margin: 0; border-radius: 0; }
      iframe { block-size: 100vh; block-size: 100dvh; max-block-size: none; }
      .open { inset-block-end: 16px; inset-inline-end: 16px; }
      .open.left { inset-inline: 16px auto; }
    }`;
  const icons = {
    phone: "M6.6 10.8a15.1 15.1 0 0 0 6.6 6.6l2.2-2.2a1 1 0 0 1 1-.25 11.4 11.4 0 0 0 3.6.57 1 1 0 0 1 1 1V20a1 1 0 0 1-1 1A17 17 0 0 1 3 4a1 1 0 0 1 1-1h3.5a1 1 0 0 1 1 1c0 1.25.2 2.45.57 3.57a1 1 0 0 1-.25 1z",
    cross: "M5 5l14 14M19 5L5 19",
  };

  const make = (name, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
  };
  const icon = (path) => {
    const space = "http://www.w3.org/2000/svg";
    const [svg, drawn] = [document.createElementNS(space, "svg"), document.createElementNS(space, "path")];
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("aria-hidden", "true");
    svg.setAttribute("width", "22");
    drawn.setAttribute("d", path);
    svg.append(drawn);
    return svg;
  };

  const host = make("div", { lang: language });
  host.dataset.callbackDesk = config.key;
  const root = host.attachShadow({ mode: "open" });
  try {
    // A stylesheet made by script needs no style-src of the website.
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(css);
    root.adoptedStyleSheets = [sheet];
  } catch {
    // Where a website's policy forbids this too, the button keeps its place and the look of the browser.
    root.append(make("style", { textContent: css }));
    Object.assign(host.style, { position: "fixed", [config.corner]: "24px", bottom: "24px", zIndex: "2147483000" });
  }
  host.style.setProperty("--accent", config.colour);
  host.style.setProperty("--on-accent", config.onColour);

  const button = make("button", { type: "button", className: `open ${config.corner}` }, icon(icons.phone), texts.open);
  button.setAttribute("aria-haspopup", "dialog");
  const close = make("button", { type: "button", className: "close", title: texts.close }, icon(icons.cross));
  close.setAttribute("aria-label", texts.close);
  const tab = make("a", { href: address, target: "_blank", rel: "noopener", textContent: texts.tab });
  const slow = make("p", { hidden: true }, `${texts.slow} `, tab);
  const dialog = make("dialog", {}, slow, close);
  dialog.setAttribute("aria-label", texts.open);
  let frame = null;
  let opener = null;

  // Made at the first opening: until then a visitor's page loads nothing but this script.
  const load = () => {
    frame = make("iframe", { title: texts.open, width: "380", height: "460" });
    // Behind the #, where servers and their logs do not see it.
    frame.src = `${address}&frame=1#${new URLSearchParams({ page: location.href.split("#")[0] })}`;
    dialog.prepend(frame);
    setTimeout(() => { slow.hidden = Boolean(frame.dataset.ready); }, 8000);
  };
  const tell = (type) => {
    if (frame.dataset.ready) frame.contentWindow.postMessage({ source: "callback-desk", type }, home);
  };
  // Tells whether the dialog is open now: a website that is not named, and a browser without dialogs, show the form itself.
  const open = (pressed) => {
    stay();
    if (!allowed || !dialog.showModal || !host.isConnected) return false;
    opener = pressed;
    if (!frame) load();
    if (!dialog.open) dialog.showModal();
    frame.focus();
    tell("opened");
    return true;
  };

  const heard = {
    ready() {
      frame.dataset.ready = "1";
      slow.hidden = true;
      if (dialog.open) tell("opened");
    },
    height({ height }) {
      if (height > 0 && height < 20000) dialog.style.setProperty("--height", `${Math.ceil(height)}px`);
    },
    close: () => dialog.close(),
  };
  addEventListener("message", ({ origin, source, data }) => {
    if (!frame || source !== frame.contentWindow || origin !== home || data?.source !== "callback-desk") return;
    if (Object.keys(heard).includes(data.type)) heard[data.type](data);
  });
  button.addEventListener("click", () => { if (!open(button)) window.open(address, "_blank", "noopener"); });
  close.addEventListener("click", () => dialog.close());
  // A press beside the dialog lands on the dialog itself.
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => opener?.focus());

  // Websites that change their page without loading another one throw away what they did not make: it is put back.
  let returns = 100;
  const watcher = new MutationObserver(() => stay());
  const stay = () => {
    if (!document.body || host.isConnected) return;
    const other = document.querySelector(mark);
    if (other || returns-- <= 0) {
      watcher.disconnect();
      return;
    }
    // A frame that is moved loads anew, and a dialog that was taken out is open no more.
    if (frame) frame.remove();
    frame = null;
    dialog.removeAttribute("open");
    document.body.append(host);
    watcher.observe(document.body, { childList: true });
  };

  const begin = () => {
    if (document.querySelector(mark)) return;
    button.hidden = config.isHidden || script?.dataset.button === "none";
    root.append(...(dialog.showModal ? [button, dialog] : [button]));
    watcher.observe(document.documentElement, { childList: true });
    stay();
  };
  // Links of the website to the hosted form open the dialog; without this script they open the page.
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");
    if (!link || link.href.split(/[?#]/)[0] !== config.url || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (!event.defaultPrevented && open(link)) event.preventDefault();
  });
  if (document.body) begin();
  else addEventListener("DOMContentLoaded", begin);
}
