"""The web door: blueprints, guards and the mapping of errors to answers."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from bx24app.outgoing.deadline import ending_within
from bx24app.outgoing.slots import Slots, sharing
from bx24app.settings import Settings
from bx24app.web import addresses, errors, events, headers, languages, operations, request_ids, static
from bx24app.web.api import api_keys, callbacks, do_not_call, lines, me, numbers, openapi, reports, rules, webhooks
from bx24app.web.api import forms as api_forms
from bx24app.web.api import settings as api_settings
from bx24app.web.api.listing import callback_list
from bx24app.web.api.records import journal, privacy
from bx24app.web.frame import (
    company,
    first_run,
    form_preview,
    fragments,
    one_callback,
    pages,
    sections,
    setup_check,
    start,
)
from bx24app.web.heads import PlainHead, PlainRequest
from bx24app.web.public import forms, legal, status_page, widget

# The largest honest body is a frame post or a callback of a few kilobytes.
MAX_REQUEST_BYTES = 256 * 1024
# What one request asks of others ends together: a portal's whole exchange, and then the authorization server's.
REQUEST_SECONDS = 30.0
# Whoever asks others waits: of a process's threads (gunicorn.conf.py) some are left for whoever asks nobody.
EXCHANGES_OF_ONE, EXCHANGES_AT_ONCE = 4, 12
_exchanges = Slots[str](EXCHANGES_OF_ONE, EXCHANGES_AT_ONCE)

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


def _ending_in_time(wsgi_app: "WSGIApplication") -> "WSGIApplication":
    def ended(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        with ending_within(REQUEST_SECONDS), sharing(_exchanges):
            return wsgi_app(environ, start_response)

    return ended


def init_app(app: Flask, settings: Settings) -> None:
    """Add every route (docs/api.md)."""
    app.request_class = PlainRequest
    app.config["MAX_CONTENT_LENGTH"] = MAX_REQUEST_BYTES
    app.wsgi_app = _ending_in_time(app.wsgi_app)  # type: ignore[assignment, method-assign]
    app.wsgi_app = PlainHead(app.wsgi_app)  # type: ignore[method-assign]
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    for concern in (operations, request_ids, addresses, languages, errors, headers, static):
        concern.init_app(app)
    shown = (
        pages,
        fragments,
        form_preview,
        one_callback,
        first_run,
        setup_check,
        company,
        start,
        sections,
        legal,
        forms,
        status_page,
        widget,
    )
    answering = (
        callbacks,
        callback_list,
        lines,
        me,
        numbers,
        openapi,
        events,
        operations,
        api_forms,
        api_settings,
        api_keys,
        journal,
        privacy,
        do_not_call,
        reports,
        rules,
        webhooks,
    )
    for module in (*shown, *answering):
        app.register_blueprint(module.blueprint)
