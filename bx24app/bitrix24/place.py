"""Where a portal opened a page: the placement, in a CRM card the entity, and the view that a link asks for."""

from dataclasses import dataclass, field

from bx24app.bitrix24.crm import ENTITY_TYPES, MAX_PHONE
from bx24app.bitrix24.frame_post import FramePost

MAX_ID_DIGITS = 9
# A name of a view, an id or a key: more is no link of ours.
MAX_LINK = 64
# The menu of the telephony's own reports leads to ours.
REPORTS_MENU = "TELEPHONY_ANALYTICS_MENU"


@dataclass(frozen=True)
class DeepLink:
    """The view of the desk that a link asks for, and of which thing; it chooses and permits nothing."""

    view: str = ""
    id: str = ""


@dataclass(frozen=True)
class LaunchPlace:
    """Where the page was opened: a placement and, in a CRM card, the entity."""

    placement: str
    entity_type: str = ""
    entity_id: int = 0
    number: str = field(default="", repr=False)
    link: DeepLink = DeepLink()


def place_of(post: FramePost) -> LaunchPlace:
    """Read where a page was opened from the placement's code and options.

    The options of a link (docs: api-reference/widgets/universal/app-url.md) and of ``openApplication`` are our own.
    """
    options = post.PLACEMENT_OPTIONS
    if post.PLACEMENT == "CALL_CARD":
        kind, number = options.get("CRM_ENTITY_TYPE", ""), options.get("PHONE_NUMBER", "")
        entity_id = _positive(options.get("CRM_ENTITY_ID", ""))
        known = kind in ENTITY_TYPES and entity_id > 0
        return LaunchPlace(post.PLACEMENT, kind if known else "", entity_id if known else 0, number[:MAX_PHONE])
    kind = post.PLACEMENT.removeprefix("CRM_").removesuffix("_DETAIL_TAB")
    entity_id = _positive(options.get("ID", ""))
    if kind in ENTITY_TYPES and entity_id:
        return LaunchPlace(post.PLACEMENT, kind, entity_id)
    if post.PLACEMENT == REPORTS_MENU:
        return LaunchPlace(post.PLACEMENT, link=DeepLink("reports"))
    link = DeepLink(options.get("view", "")[:MAX_LINK], options.get("id", "")[:MAX_LINK])
    return LaunchPlace(post.PLACEMENT, link=link)


def _positive(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_ID_DIGITS else 0
