// The page behind a customer's link.
import { follow } from "../visitors/status.js";

const place = document.querySelector("[data-status-url]");
follow(place, place.dataset.statusUrl);
