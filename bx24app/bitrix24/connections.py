"""The two connections of this process to Bitrix24: to portals, and to the authorization server."""

import os
from typing import cast

from flask import Flask, current_app
from werkzeug.local import LocalProxy

from bx24app.bitrix24.authorization import AuthorizationServer
from bx24app.bitrix24.client import PortalClients
from bx24app.outgoing.address_policy import AddressPolicy
from bx24app.settings import Settings


def init_app(app: Flask, settings: Settings) -> None:
    """Prepare the connections from the operator's settings; none is opened yet."""
    if settings.allow_insecure_portals:
        # oauthlib accepts plain http only when this environment variable is set.
        os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"
    policy = AddressPolicy(settings.private_portals, settings.allow_insecure_portals)
    app.extensions["bx24app.portals"] = PortalClients(policy)
    app.extensions["bx24app.authorization_server"] = AuthorizationServer(
        settings.auth_server, settings.client_id, settings.client_secret.get_secret_value()
    )


portal_clients = cast("PortalClients", LocalProxy(lambda: current_app.extensions["bx24app.portals"]))
authorization_server = cast(
    "AuthorizationServer", LocalProxy(lambda: current_app.extensions["bx24app.authorization_server"])
)
