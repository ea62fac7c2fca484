"""The entry point of the fleet: ``celery -A bx24app.fleet worker`` and ``celery -A bx24app.fleet beat``."""

import sys

from bx24app import create_app
from bx24app.settings import SettingsError
from bx24app.worker.fleet import make_fleet

try:
    app = make_fleet(create_app())
except SettingsError as error:
    sys.exit(str(error))
