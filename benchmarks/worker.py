"""A worker process for measurements, whose idea of the platform's limit is as fast as the fake portals'."""

import sys

from app import app
from bx24app.models.pace import USUAL, Limit
from bx24app.services import pacing
from bx24app.worker import Worker

dials, speed = int(sys.argv[1]), float(sys.argv[2])
pacing.USUAL = Limit(USUAL.size, USUAL.rate * speed)  # type: ignore[attr-defined]  # Its own name for it.
Worker(app, dials).run_until_told()
