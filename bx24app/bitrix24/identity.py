"""Our application and a person, as a portal itself names them."""

from typing import Annotated, TypeVar

from pydantic import BaseModel, Field, ValidationError

from bx24app.bitrix24.answers import Json
from bx24app.bitrix24.client import BatchAnswer, PortalClient
from bx24app.bitrix24.errors import CredentialRefused
from bx24app.bitrix24.frame_post import UserId
from bx24app.outgoing.errors import UnreadableAnswer

M = TypeVar("M", bound=BaseModel)
MAX_NAME = 255


class PortalApp(BaseModel):
    """Our application as this portal's ``app.info`` names it."""

    CODE: Annotated[str, Field(max_length=255)]
    ID: Annotated[str, Field(max_length=64)] | UserId
    LANGUAGE_ID: str = "en"
    LICENSE: str = ""
    LICENSE_FAMILY: str = ""

    @property
    def family(self) -> str:
        """The family of the portal's plan, on which its rate limit depends; older portals name only the plan."""
        return (self.LICENSE_FAMILY or self.LICENSE.partition("_")[2])[:64]


class Profile(BaseModel):
    """The visitor, by ``profile`` (docs: api-reference/common/users/profile.md)."""

    ID: UserId
    ADMIN: bool = False
    NAME: str | None = None
    LAST_NAME: str | None = None
    TIME_ZONE: str | None = None

    @property
    def full_name(self) -> str:
        """Name and surname, or the number of a person without either."""
        return " ".join(part for part in (self.NAME, self.LAST_NAME) if part)[:MAX_NAME] or f"#{self.ID}"


def _read(model: type[M], value: Json) -> M:
    try:
        return model.model_validate(value)
    except ValidationError:
        raise UnreadableAnswer from None


def read_identity(batch: BatchAnswer) -> tuple[PortalApp, Profile]:
    """The application and the visitor from a batch; raises ``ExchangeError``.

    The profile of a dismissed person is empty (docs: api-reference/common/users/profile.md).
    """
    profile = _profile(batch.result("profile"))
    return _read(PortalApp, batch.result("app")), profile


def read_profile(client: PortalClient) -> Profile:
    """Ask whose token it is and what they may; raises ``ExchangeError``, as for a dismissed person."""
    return _profile(client.invoke("profile"))


def _profile(said: Json) -> Profile:
    if said in ([], {}):
        raise CredentialRefused("authorization_error")
    return _read(Profile, said)
