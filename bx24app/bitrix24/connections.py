"""The two connections of this process to Bitrix24: to portals, and to the authorization server."""

import os
from typing import Any, cast

from flask import Flask, current_app
from werkzeug.local import LocalProxy

from bx24app.bitrix24.authorization import AuthorizationServer
from bx24app.bitrix24.client import PortalClients
from bx24app.outgoing.address_policy import AddressPolicy
from bx24app.settings import Settings

_PRIVATE = "bx24app.private_portals"


def init_app(app: Flask, settings: Settings) -> None:
    """Prepare the connections from the operator's settings; none is opened yet."""
    if settings.allow_insecure_portals:
        # oauthlib accepts plain http only when this environment variable is set.
        os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"

    def clients(*member_ids: str) -> PortalClients:
        networks = tuple(one.network for one in settings.private_portals if one.member_id in member_ids)
        return PortalClients(AddressPolicy(networks, settings.allow_insecure_portals))

    app.extensions["bx24app.portals"] = clients("")
    # Each has connections of its own, or a portal could use one that was opened to another one's network.
    named = {one.member_id for one in settings.private_portals if one.member_id}
    app.extensions[_PRIVATE] = {member_id: clients("", member_id) for member_id in named}
    app.extensions["bx24app.authorization_server"] = AuthorizationServer(
        settings.auth_origin, settings.client_id, settings.client_secret.get_secret_value()
    )


def portal_clients(member_id: str) -> PortalClients:
    """What talks to a portal, under the address policy that the operator has for it."""
    extensions: dict[str, Any] = current_app.extensions
    private: dict[str, PortalClients] = extensions[_PRIVATE]
    return private.get(member_id) or cast("PortalClients", extensions["bx24app.portals"])


authorization_server = cast(
    "AuthorizationServer", LocalProxy(lambda: current_app.extensions["bx24app.authorization_server"])
)
