"""What the app knows: typed rows and the state changes they allow."""

from bx24app.models.api_key import ApiKey
from bx24app.models.attempt import Attempt, MovedBackwards, Outcome
from bx24app.models.callback import (
    FINAL,
    IN_HAND,
    IS_OPEN,
    IS_WAITING,
    OPEN,
    RETRIABLE,
    TRANSITIONS,
    WAITING,
    Callback,
    Decision,
    IllegalTransition,
    Source,
    State,
    first_id,
)
from bx24app.models.columns import utcnow
from bx24app.models.credential import Credential, CredentialState
from bx24app.models.digest_key import DigestKey
from bx24app.models.do_not_call import DoNotCall
from bx24app.models.form import Form, UnknownPolicy
from bx24app.models.portal import Portal, PortalLine, PortalSettings, PortalState
from bx24app.models.rate_limit import BudgetDay, TokenBucket
from bx24app.models.received_event import ReceivedEvent
from bx24app.models.rest_call import RestCall
from bx24app.models.throttle import Throttle
from bx24app.models.user import User
from bx24app.models.webhook import Webhook, WebhookDelivery
from bx24app.models.website_request import CrmState, DecoyRequest, Rejection, WebsiteRequest

__all__ = [
    "FINAL",
    "IN_HAND",
    "IS_OPEN",
    "IS_WAITING",
    "OPEN",
    "RETRIABLE",
    "TRANSITIONS",
    "WAITING",
    "ApiKey",
    "Attempt",
    "BudgetDay",
    "Callback",
    "Credential",
    "CredentialState",
    "CrmState",
    "Decision",
    "DecoyRequest",
    "DigestKey",
    "DoNotCall",
    "Form",
    "IllegalTransition",
    "MovedBackwards",
    "Outcome",
    "Portal",
    "PortalLine",
    "PortalSettings",
    "PortalState",
    "ReceivedEvent",
    "Rejection",
    "RestCall",
    "Source",
    "State",
    "Throttle",
    "TokenBucket",
    "UnknownPolicy",
    "User",
    "Webhook",
    "WebhookDelivery",
    "WebsiteRequest",
    "first_id",
    "utcnow",
]
