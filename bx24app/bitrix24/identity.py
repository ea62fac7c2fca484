"""Our application and a person, as a portal itself names them."""

from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from bx24app.bitrix24.answers import Json
from bx24app.bitrix24.client import BatchAnswer, PortalClient
from bx24app.bitrix24.crm import BatchCommands
from bx24app.bitrix24.errors import CredentialRefused
from bx24app.bitrix24.frame_post import UserId
from bx24app.outgoing.errors import ExchangeError, UnreadableAnswer

M = TypeVar("M", bound=BaseModel)
MAX_NAME = 255
MAX_DEPARTMENTS = 50
# Who somebody is and what they may, under their own token.
PERSON_QUESTIONS: BatchCommands = {"profile": ("profile", {}), "person": ("user.current", {})}
IDENTITY_QUESTIONS: BatchCommands = {"app": ("app.info", {}), "scopes": ("scope", {}), **PERSON_QUESTIONS}
MAX_SCOPES = 200


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
    # By ``user.current``, which needs the scope user_brief; none where it could not be asked.
    departments: tuple[int, ...] = ()

    @property
    def full_name(self) -> str:
        """Name and surname, or the number of a person without either."""
        return " ".join(part for part in (self.NAME, self.LAST_NAME) if part)[:MAX_NAME] or f"#{self.ID}"


def _department_ids(value: object) -> list[object]:
    """A person in no department has ``false``; a department above those listed is not named."""
    return value[:MAX_DEPARTMENTS] if isinstance(value, list) else []


class _Person(BaseModel):
    """The visitor, by ``user.current`` (docs: api-reference/user/user-current.md)."""

    ID: UserId
    UF_DEPARTMENT: Annotated[tuple[UserId, ...], BeforeValidator(_department_ids)] = ()


def _read(model: type[M], value: Json) -> M:
    try:
        return model.model_validate(value)
    except ValidationError:
        raise UnreadableAnswer from None


def read_scopes(batch: BatchAnswer) -> list[str] | None:
    """The scopes that the portal has granted, in order, from a batch that asks for them; None where it did not say.

    Docs: api-reference/common/system/scope.md.
    """
    told = batch.results.get("scopes") if "scopes" not in batch.errors else None
    return sorted({str(scope)[:64] for scope in told[:MAX_SCOPES]}) if isinstance(told, list) and told else None


def read_identity(batch: BatchAnswer) -> tuple[PortalApp, Profile]:
    """The application and the visitor from a batch; raises ``ExchangeError``.

    The profile of a dismissed person is empty (docs: api-reference/common/users/profile.md).
    """
    profile = read_person(batch)
    return _read(PortalApp, batch.result("app")), profile


def read_person(batch: BatchAnswer) -> Profile:
    """The visitor from a batch with ``PERSON_QUESTIONS``; raises ``ExchangeError``."""
    profile = _profile(batch.result("profile"))
    try:
        person = _read(_Person, batch.result("person"))
    except ExchangeError:
        return profile.model_copy(update={"departments": ()})
    departments = person.UF_DEPARTMENT if person.ID == profile.ID else ()
    return profile.model_copy(update={"departments": departments})


def read_profile(client: PortalClient) -> Profile:
    """Ask whose token it is and what they may; raises ``ExchangeError``, as for a dismissed person."""
    return _profile(client.invoke("profile"))


def _profile(said: Json) -> Profile:
    if said in ([], {}):
        raise CredentialRefused("authorization_error")
    return _read(Profile, said)
