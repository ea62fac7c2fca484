"""Where a portal opened a page: the placement, in a CRM card the entity, and the view that a link asks for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from bx24app.bitrix24.crm import ENTITY_TYPES, MAX_PHONE
from bx24app.bitrix24.frame_post import FramePost

MAX_ID_DIGITS = 9
# A name of a view, an id or a key: more is no link of ours.
MAX_LINK = 64
CALL_CARD = "CALL_CARD"
ACTIVITIES_MENU = "CRM_ACTIVITY_LIST_MENU"
# The menu of the telephony's own reports leads to ours.
REPORTS_MENU = "TELEPHONY_ANALYTICS_MENU"
# What the portal calls an activity among all that has an id of its own (docs: crm/data-types.md).
ACTIVITY_TYPE = "6"
PLAN_BUTTON, TIMELINE_MENU = "DETAIL_ACTIVITY", "ACTIVITY_TIMELINE_MENU"
_CARD_PLACEMENT = re.compile(
    rf"CRM_(?P<kind>{'|'.join(ENTITY_TYPES)}|DYNAMIC_(?P<type>[1-9][0-9]{{0,8}}))"
    rf"_(?P<where>DETAIL_TAB|LIST_MENU|{PLAN_BUTTON}|{TIMELINE_MENU})"
)


@dataclass(frozen=True)
class DeepLink:
    """The view of the desk that a link asks for, and of which thing; it chooses and permits nothing."""

    view: str = ""
    id: str = ""


@dataclass(frozen=True)
class LaunchPlace:
    """Where the page was opened: a placement and, in a CRM card, the entity; ``activity_id`` names one of the timeline.

    The kind of a smart process's card is ``DYNAMIC_183``.
    """

    placement: str
    entity_type: str = ""
    entity_id: int = 0
    number: str = field(default="", repr=False)
    link: DeepLink = DeepLink()
    activity_id: int = 0

    @property
    def is_call(self) -> bool:
        """Tell whether the page stands in the card of a call that is going on."""
        return self.placement == CALL_CARD

    @property
    def is_planning(self) -> bool:
        """Tell whether the page was opened to plan a call, and not to make one now."""
        return self.placement.endswith(PLAN_BUTTON)


def smart_process_of(placement: str) -> int:
    """The type of the smart process in whose cards a tab of ours appears; 0 for every other placement."""
    match = _CARD_PLACEMENT.fullmatch(placement)
    return int(match["type"]) if match and match["type"] and match["where"] == "DETAIL_TAB" else 0


def place_of(post: FramePost) -> LaunchPlace:
    """Read where a page was opened from the placement's code and options.

    The options of a link (docs: api-reference/widgets/universal/app-url.md) and of ``openApplication`` are our own.
    """
    options = post.PLACEMENT_OPTIONS
    if post.PLACEMENT == CALL_CARD:
        kind, number = options.get("CRM_ENTITY_TYPE", ""), options.get("PHONE_NUMBER", "")
        entity_id = _positive(options.get("CRM_ENTITY_ID", ""))
        known = kind in ENTITY_TYPES and entity_id > 0
        return LaunchPlace(post.PLACEMENT, kind if known else "", entity_id if known else 0, number[:MAX_PHONE])
    if post.PLACEMENT == ACTIVITIES_MENU:
        return LaunchPlace(post.PLACEMENT, activity_id=_positive(options.get("ID", "")))
    match = _CARD_PLACEMENT.fullmatch(post.PLACEMENT)
    if match:
        return _place_of_card(post.PLACEMENT, match, options)
    if post.PLACEMENT == REPORTS_MENU:
        return LaunchPlace(post.PLACEMENT, link=DeepLink("reports"))
    link = DeepLink(options.get("view", "")[:MAX_LINK], options.get("id", "")[:MAX_LINK])
    return LaunchPlace(post.PLACEMENT, link=link)


def _place_of_card(placement: str, match: re.Match[str], options: Mapping[str, str]) -> LaunchPlace:
    """Docs: widgets/crm/detail-tab.md, list-menu.md, detail-activity.md, activity-timeline-menu.md."""
    in_timeline = match["where"] == TIMELINE_MENU
    entity_id = _positive(options.get("ENTITY_ID" if in_timeline else "ID", ""))
    if not entity_id:
        return LaunchPlace(placement)
    # Other records of the timeline have a menu too, and ids that are no activity's.
    is_activity = in_timeline and options.get("ASSOCIATED_ENTITY_TYPE_ID", ACTIVITY_TYPE) == ACTIVITY_TYPE
    activity_id = _positive(options.get("ASSOCIATED_ENTITY_ID", "")) if is_activity else 0
    return LaunchPlace(placement, match["kind"], entity_id, activity_id=activity_id)


def _positive(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_ID_DIGITS else 0
