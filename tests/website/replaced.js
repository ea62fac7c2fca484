// Replace the body as Turbo does: a copy takes its place, and its scripts are made anew, so that they run again.
document.addEventListener("click", ({ target }) => {
  if (!target.closest("[data-replace]")) return;
  const body = document.body.cloneNode(true);
  body.querySelector("output").textContent = Number(body.querySelector("output").textContent) + 1;
  for (const other of body.querySelectorAll("[data-callback-desk]")) other.remove();
  for (const old of body.querySelectorAll("script[src*='/widget.js']")) {
    const script = document.createElement("script");
    for (const { name, value } of old.attributes) script.setAttribute(name, value);
    old.replaceWith(script);
  }
  document.body.replaceWith(body);
});
