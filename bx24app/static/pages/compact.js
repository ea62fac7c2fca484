// The page in a CRM card or a call card.
import * as frame from "../frame.js";
import { startList } from "../sections/callbacks.js";
import { byId, localTimes } from "../ui.js";

localTimes(byId("main"));
startList(byId("main"));
byId("all-callbacks").addEventListener("click", () => frame.openDesk({ view: "callbacks" }));
frame.followHeight();
frame.init();
