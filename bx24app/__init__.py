"""Callback Desk: a Bitrix24 app that rings a line, then the customer, and joins the two."""

import os
from collections.abc import Mapping

from flask import Flask

from bx24app import cli, crypto, database, log, settings, web
from bx24app.bitrix24 import connections
from bx24app.services.callbacks.entries import marks
from bx24app.services.dialling import counted_changes
from bx24app.services.native.follow_up import outbox as news_outbox
from bx24app.services.runtime import announcements
from bx24app.services.webhooks import outbox
from bx24app.worker import worker


def create_app(environ: Mapping[str, str] | None = None) -> Flask:
    """Build the app from ``BX24APP_*`` variables (default: of the process).

    Raises ``SettingsError`` naming every missing or wrong one.
    """
    app = Flask(__name__, template_folder="../templates", static_folder=None)
    values = settings.init_app(app, os.environ if environ is None else environ)
    log.init_app(values)
    crypto.init_app(app, values)
    database.init_app(app, values)
    connections.init_app(app, values)
    outbox.init_app()
    marks.init_app()
    news_outbox.init_app()
    counted_changes.init_app()
    announcements.init_app(app, values)
    web.init_app(app, values)
    cli.init_app(app)
    worker.init_app(app)
    return app
