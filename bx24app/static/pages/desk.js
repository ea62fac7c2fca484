// The desk.
import { start } from "../call_form.js";
import * as frame from "../frame.js";
import { CallbackList } from "../list.js";
import { byId } from "../ui.js";

const list = new CallbackList(byId("callbacks"));
// Whoever may only look has no form.
if (byId("call-form")) start(list);
list.follow();
frame.followHeight();
frame.init();
