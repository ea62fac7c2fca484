"""Links into the desk, as Bitrix24 opens them in a slider (docs: api-reference/widgets/universal/app-url.md)."""

from urllib.parse import quote

from bx24app.models import Portal
from bx24app.settings import settings
from bx24app.urls import origin_of


def desk_path(portal: Portal, view: str, id: str = "") -> str:
    """The path of a view of the desk inside of Bitrix24; without brackets, which BB codes would end at."""
    named = {"view": view} | ({"id": id} if id else {})
    query = "&".join(f"params%5B{name}%5D={quote(value)}" for name, value in named.items())
    # A local app has no code of its own: its client_id stands there.
    return f"/marketplace/view/{portal.app_code or settings.client_id}/?{query}"


def desk_url(portal: Portal, view: str, id: str = "") -> str:
    """The same as a whole address, for mails and notes."""
    return origin_of(portal.client_endpoint) + desk_path(portal, view, id)
