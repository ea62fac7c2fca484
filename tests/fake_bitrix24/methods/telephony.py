"""Lines, voices, callbacks and the history of calls."""

import re
from typing import TYPE_CHECKING, Any

from tests.fake_bitrix24.methods.filters import PAGE, matches
from tests.fake_bitrix24.people import CALL_ANY, MANAGE_LINES, SEE_STATISTICS
from tests.fake_bitrix24.rest import Asker, Method, Parameters, RestError

if TYPE_CHECKING:
    from tests.fake_bitrix24.portal import FakePortal


def line_get(portal: "FakePortal", asker: Asker, _: Parameters) -> Any:
    """docs: voximplant/lines/voximplant-line-get.md; no lines: []."""
    asker.need_right(MANAGE_LINES)
    return {id: line.name for id, line in portal.lines.items()} or []


def voices_get(portal: "FakePortal", asker: Asker, _: Parameters) -> Any:
    """docs: voximplant/voximplant-tts-voices-get.md; any user."""
    return dict(portal.voices)


def callback_start(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: voximplant/voximplant-callback-start.md; rings every time it is called."""
    asker.need_right(CALL_ANY)
    line_id = str(parameters.get("FROM_LINE") or "")
    line = portal.lines.get(line_id)
    if line is None:
        raise RestError("ERROR_CORE", f"Could not find line {line_id}")
    number = re.sub(r"[^\d+]", "", str(parameters.get("TO_NUMBER") or ""))
    if not number.strip("+"):
        raise RestError("ERROR_CORE", "Phone number is not correct")
    text = str(parameters.get("TEXT_TO_PRONOUNCE") or "")
    if not text:
        raise RestError("ERROR_CORE", "TEXT_TO_PRONOUNCE is not set")
    if line.type == "rest":
        portal.handed_over.append({"line": line_id, "number": number})
        return {"RESULT": True, "CALL_ID": None}
    voice = str(parameters.get("VOICE") or next(iter(portal.voices)))
    call = portal.telephony.dial(line_id, number, text, voice, asker.user)
    return {"RESULT": True, "CALL_ID": call.call_id}


def statistic_get(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: voximplant/voximplant-statistic-get.md"""
    asker.need_right(SEE_STATISTICS)
    wanted = parameters.get("FILTER") or {}
    rows = [row for row in portal.telephony.history if all(matches(row, k, v) for k, v in wanted.items())]
    rows.sort(
        key=lambda row: int(str(row["ID"])) if str(row["ID"]).isdigit() else 0,
        reverse=str(parameters.get("ORDER", "ASC")).upper() == "DESC",
    )
    start = int(parameters.get("start") or 0)
    return rows[start : start + PAGE]


METHODS = {
    "voximplant.line.get": Method("telephony", line_get),
    "voximplant.tts.voices.get": Method("telephony", voices_get),
    # The platform registers the dialling method in a scope of its own.
    "voximplant.callback.start": Method("call", callback_start),
    "voximplant.statistic.get": Method("telephony", statistic_get),
}
