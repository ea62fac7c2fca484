// Finishes the installation by itself; the portal then opens the desk.
import * as frame from "../frame.js";
import { byId } from "../ui.js";

const SLOW = 5000;

frame.followHeight();
await frame.init();
frame.finishInstallation();
byId("finish").addEventListener("click", () => frame.finishInstallation());
setTimeout(() => {
  byId("progress").hidden = true;
  byId("slow").hidden = false;
}, SLOW);
