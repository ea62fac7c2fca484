// The start bar of the desk: open or shut, kept for the person. On a telephone it is shut at first, and that is not kept.
import { byId } from "../ui.js";

const isNarrow = () => matchMedia("(max-width: 479px)").matches;

export function startBar() {
  const button = byId("start-bar");
  if (!button) return;
  const form = byId("call-form");
  const show = (isOpen) => { form.hidden = !isOpen; button.setAttribute("aria-expanded", String(isOpen)); };
  const narrow = isNarrow();
  if (narrow) show(false);
  form.parentElement.classList.add("ready");
  button.addEventListener("click", () => {
    show(form.hidden);
    if (!isNarrow()) import("../left_desk.js").then(({ keepDesk }) => keepDesk({ start_bar_open: !form.hidden }));
  });
}
