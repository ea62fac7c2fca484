// The journal: its filters stand in the address.
export function start(panel) {
  const filters = panel.find("form");
  filters.addEventListener("change", () => {
    panel.view.go(`settings/journal?${new URLSearchParams(new FormData(filters))}`, { replaces: true });
  });
  filters.addEventListener("submit", (event) => event.preventDefault());
}
