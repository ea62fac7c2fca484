// What the desk has for administrators.
import * as panels from "../panels.js";
import * as setupCheck from "../setup_check.js";

panels.start();
setupCheck.start();
