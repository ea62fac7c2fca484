// Settings of calls.
import { startSettings } from "../settings_form.js";
import { values } from "./fields.js";

export const start = (panel) => startSettings(panel, { read: values });
