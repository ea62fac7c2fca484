// The desk.
import { start } from "../call_form.js";
import * as frame from "../frame.js";
import { CallbackList } from "../list.js";
import { byId } from "../ui.js";

const list = new CallbackList(byId("callbacks"));
start(list);
list.follow();
frame.followHeight();
frame.init();
