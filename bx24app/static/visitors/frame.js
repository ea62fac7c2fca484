// Talks with the widget around our frame. What is said is no secret, and our policy lets only the form's websites frame us:
// so any of them may hear it.
const framed = window.parent !== window;

export function say(type, values = {}) {
  if (framed) window.parent.postMessage({ source: "callback-desk", type, ...values }, "*");
}

export function begin({ opened }) {
  if (!framed) return;
  window.addEventListener("message", ({ source, data }) => {
    if (source === window.parent && data?.source === "callback-desk" && data.type === "opened") opened();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.defaultPrevented) say("close");
  });
  new ResizeObserver(() => say("height", { height: document.body.getBoundingClientRect().height })).observe(document.body);
  say("ready");
}

// The page of the website, which the widget writes behind the #; else where the visitor came from.
export const page = () => new URLSearchParams(location.hash.slice(1)).get("page") ?? document.referrer;
