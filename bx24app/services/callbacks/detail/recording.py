"""The recording of a callback's call: nothing of it is stored or passed on, and the portal plays it itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from bx24app.bitrix24 import telephony
from bx24app.models import Attempt

# Until then a recording that is not there may still come: the portal fetches it after the call.
COMES_WITHIN = timedelta(minutes=15)


class RecordingState(StrEnum):
    """What is known of the recording of one call."""

    LINK = "link"
    # The portal has it among its files and names no address.
    KEPT = "kept"
    COMING = "coming"
    NONE = "none"
    FORBIDDEN = "forbidden"


@dataclass(frozen=True)
class FoundRecording:
    """The recording of an attempt; ``url`` is set with ``LINK``."""

    attempt: int
    state: RecordingState
    url: str = field(default="", repr=False)


def has_conversation(attempt: Attempt) -> bool:
    """Tell whether there can be something to hear."""
    return attempt.call_id is not None and bool(attempt.duration_seconds)


def found_recording(attempt: Attempt, found: Mapping[str, telephony.Recording] | None, now: datetime) -> FoundRecording:
    """What the portal's answer means for an attempt; None: it refused to tell this reader of any."""
    # The app knows the call from the history: who does not find it there may not see it.
    if found is None or (attempt.call_id or "") not in found:
        return FoundRecording(attempt.number, RecordingState.FORBIDDEN)
    recording = found[attempt.call_id or ""]
    if recording.url:
        return FoundRecording(attempt.number, RecordingState.LINK, recording.url)
    if recording.is_there:
        return FoundRecording(attempt.number, RecordingState.KEPT)
    is_new = attempt.ended_at is not None and now - attempt.ended_at < COMES_WITHIN
    return FoundRecording(attempt.number, RecordingState.COMING if is_new else RecordingState.NONE)
