"""A worker process for measurements, whose idea of the platform's limit is as fast as the fake portals'."""

import sys

from app import app
from bx24app.models.portals.throttle import STANDARD_LIMIT, RequestLimit
from bx24app.services.portals import throttle
from bx24app.worker.worker import Worker

dials, speed = int(sys.argv[1]), float(sys.argv[2])
throttle.STANDARD_LIMIT = RequestLimit(STANDARD_LIMIT.size, STANDARD_LIMIT.rate * speed)  # type: ignore[attr-defined]  # Its own name for it.
Worker(app, dials).run_until_told()
