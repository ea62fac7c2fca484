// The whole desk.
import * as frame from "../frame.js";
import { start } from "../router.js";
import { byId, localTimes } from "../ui.js";

localTimes(byId("main"));
start(byId("main"));
frame.followHeight();
frame.init();
