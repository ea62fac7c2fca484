// Whether the reader is told anything in the messenger: kept as soon as it is chosen.
import { send } from "../api.js";

export function startMute(panel) {
  panel.body.addEventListener("change", ({ target: box }) => {
    if (!box.matches("[data-mute]")) return;
    panel.run(box, async () => {
      try {
        await send("/me/notifications", { method: "PUT", json: { muted: !box.checked } });
      } catch (error) {
        box.checked = !box.checked;
        throw error;
      }
      panel.say(box.checked ? box.dataset.on : box.dataset.off, "success");
    });
  });
}

export const start = startMute;
