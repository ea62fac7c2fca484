"""The WSGI entry point: ``flask --app app run`` and ``gunicorn app:app``."""

import gc

from bx24app import create_app

app = create_app()
# What lives as long as the process need not be looked through again and again.
gc.collect()
gc.freeze()
