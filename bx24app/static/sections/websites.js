// Websites: forms, rejected requests, keys and webhooks.
import { openPanels } from "../panels.js";

export { fetchScripts } from "../panels.js";
export const show = (view) => openPanels(view);
