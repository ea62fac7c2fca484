"""Lines, voices and the one method that dials (docs: api-reference/telephony/voximplant)."""

from dataclasses import dataclass

from bx24app.bitrix24.answers import Json, as_object
from bx24app.bitrix24.client import PortalClient
from bx24app.bitrix24.errors import NoUsableAnswer

CALLBACK = 4
SUCCESS = "200"


@dataclass(frozen=True)
class Accepted:
    """The portal took the callback; ``call_id`` is None when another telephony app was given it."""

    call_id: str | None


def _names(value: Json) -> dict[str, str]:
    return {str(key): str(name) for key, name in as_object(value).items()}


def get_lines(client: PortalClient) -> dict[str, str]:
    """Read the portal's lines (id -> name); needs the right to modify numbers. Raises ``Bitrix24Error``."""
    return _names(client.invoke("voximplant.line.get"))


def get_voices(client: PortalClient) -> dict[str, str]:
    """Read the voices (id -> name). Raises ``Bitrix24Error``."""
    return _names(client.invoke("voximplant.tts.voices.get"))


def callback_parameters(line_id: str, number: str, text: str, voice_id: str | None) -> dict[str, str]:
    """The parameters of ``voximplant.callback.start``; without a voice the portal's language decides."""
    parameters = {"FROM_LINE": line_id, "TO_NUMBER": number, "TEXT_TO_PRONOUNCE": text}
    return parameters | ({"VOICE": voice_id} if voice_id else {})


def read_accepted(result: Json) -> Accepted:
    """Read the result of ``voximplant.callback.start``; raises ``NoUsableAnswer`` for anything but an acceptance."""
    if not isinstance(result, dict) or result.get("RESULT") is not True or "CALL_ID" not in result:
        raise NoUsableAnswer("unreadable")
    call_id = result["CALL_ID"]
    if call_id is not None and not (isinstance(call_id, str) and call_id):
        raise NoUsableAnswer("unreadable")
    return Accepted(call_id)
