// The page in a CRM card or a call card.
import * as frame from "../frame.js";
import { openDesk } from "../portal_pages.js";
import { startList } from "../sections/callbacks.js";
import { byId, localTimes } from "../ui.js";

localTimes(byId("main"));
startList(byId("main"), { openCallback: (id) => openDesk({ view: "callback", id }) });
byId("all-callbacks").addEventListener("click", () => openDesk({ view: "callbacks" }));
byId("main").inert = false;
// "Plan a callback" opens at the times of a later call.
if ("plans" in byId("main").dataset) byId("later")?.click();
frame.followHeight();
frame.init();
