// Finishes the installation by itself; the portal then opens the desk.
import * as frame from "./frame.js";

const SLOW = 5000;

frame.followHeight();
await frame.init();
frame.finishInstallation();
document.getElementById("finish").addEventListener("click", () => frame.finishInstallation());
setTimeout(() => {
  document.getElementById("progress").hidden = true;
  document.getElementById("slow").hidden = false;
}, SLOW);
