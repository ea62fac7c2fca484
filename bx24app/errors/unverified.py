"""A post that does not prove who sends it."""

from typing import ClassVar

from bx24app.errors.known import KnownError, Retry


class Unverified(KnownError):
    """A post does not prove its portal, application or user; the error's text is for the log only."""

    code = "not_permitted"
    reason = "unverified"
    status: int = 403
    # Seconds after which it is worth trying again.
    retry_after: ClassVar[int | None] = None


class Malformed(Unverified):
    """A post lacks fields that every Bitrix24 portal sends, or they have the wrong form."""

    code = "invalid_request"
    reason = "malformed"
    status = 400


class NotInstalled(Unverified):
    """Bitrix24 confirms the post, but no administrator has installed the app on this portal."""

    reason = "not_installed"


class AdministratorNeeded(Unverified):
    """The user is known, but only an administrator of the portal may do this."""

    reason = "administrator_needed"


class VisitorRefused(Unverified):
    """The portal does not let this user open the app; ``cause`` and ``words`` say why."""

    reason = "visitor_refused"

    def __init__(self, text: str, cause: str, words: str | None) -> None:
        super().__init__(text)
        self.cause = cause
        self.words = words


class OpenedElsewhere(Unverified):
    """The visitor is known, but has the portal open at another address than ``known``, which alone may frame pages."""

    reason = "opened_elsewhere"
    status = 409

    def __init__(self, opened: str, known: str) -> None:
        super().__init__(f"opened at {opened}")
        self.opened = opened
        self.known = known


class PortalUnreachable(Unverified):
    """Neither the portal nor the authorization server could be asked who the user is."""

    code = "bitrix24_unavailable"
    reason = "portal_unreachable"
    status = 503
    retry = Retry.LATER


class StillRemoving(PortalUnreachable):
    """The app was removed from the portal a moment ago, and what it kept is still being deleted."""

    reason = "still_removing"
    retry_after = 30

    def __init__(self) -> None:
        super().__init__("the removal of before is being carried out")


class TooManyLaunches(PortalUnreachable):
    """So many launches of the portal are being answered that another one would take threads from other portals."""

    reason = "too_many_launches"
    retry_after = 5
