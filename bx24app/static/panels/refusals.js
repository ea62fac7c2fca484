// Refused requests: counted anew whenever the panel is opened.
export function start(panel) {
  panel.root.addEventListener("toggle", () => { if (panel.root.open) panel.run(null, () => panel.load()); });
}
