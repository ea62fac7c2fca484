// The hosted form.
import { start } from "../visitors/form.js";

start();
