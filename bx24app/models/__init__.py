"""What the app knows: typed rows and the state changes they allow."""

from bx24app.models.backup_mark import BackupMark
from bx24app.models.callbacks.attempt import Attempt, MovedBackwards, Outcome
from bx24app.models.callbacks.callback import Callback
from bx24app.models.callbacks.callback_word import CallbackWord
from bx24app.models.callbacks.decision import Decision
from bx24app.models.callbacks.follow_up import CallbackNews, ToDo
from bx24app.models.callbacks.kept_click import KeptClick
from bx24app.models.callbacks.received_event import ReceivedEvent
from bx24app.models.callbacks.report_figure import (
    QUARTER_SECONDS,
    QUARTERS_A_DAY,
    QUARTERS_AN_HOUR,
    SPAN_LENGTHS,
    ReportFigure,
)
from bx24app.models.callbacks.rule_run import PostedTokens, RuleRun, RuleStage
from bx24app.models.callbacks.state import (
    FINAL,
    IN_HAND,
    IS_OPEN,
    IS_UNCOUNTED,
    IS_WAITING,
    OPEN,
    RESTORED,
    RETRIABLE,
    TRANSITIONS,
    WAITING,
    CallbackOutcome,
    IllegalTransition,
    Source,
    State,
    first_id,
)
from bx24app.models.callbacks.timeline_entry import TimelineEntry
from bx24app.models.columns import utcnow
from bx24app.models.digest_key import DigestKey
from bx24app.models.do_not_call import DoNotCall
from bx24app.models.portals.credential import Credential, CredentialState
from bx24app.models.portals.journal_entry import JournalEntry
from bx24app.models.portals.notification import Notification, NotifiedPerson, ToldStoppage
from bx24app.models.portals.portal import IS_BEING_REMOVED, Portal, PortalLine, PortalState
from bx24app.models.portals.portal_settings import PortalSettings
from bx24app.models.portals.portal_setup import PortalSetup
from bx24app.models.portals.rest_call import RestCall
from bx24app.models.portals.saved_filter import SavedFilter
from bx24app.models.portals.throttle import Throttle
from bx24app.models.portals.user import User
from bx24app.models.websites.api_key import ApiKey
from bx24app.models.websites.form import Form, UnknownPolicy, WidgetSighting
from bx24app.models.websites.rate_limit import BudgetDay, TokenBucket
from bx24app.models.websites.webhook import Webhook, WebhookDelivery
from bx24app.models.websites.website_request import (
    IS_UNRELEASED,
    CrmState,
    DecoyRequest,
    Rejection,
    WebsiteRequest,
)

__all__ = [
    "FINAL",
    "IN_HAND",
    "IS_BEING_REMOVED",
    "IS_OPEN",
    "IS_UNCOUNTED",
    "IS_UNRELEASED",
    "IS_WAITING",
    "OPEN",
    "QUARTERS_AN_HOUR",
    "QUARTERS_A_DAY",
    "QUARTER_SECONDS",
    "RESTORED",
    "RETRIABLE",
    "SPAN_LENGTHS",
    "TRANSITIONS",
    "WAITING",
    "ApiKey",
    "Attempt",
    "BackupMark",
    "BudgetDay",
    "Callback",
    "CallbackNews",
    "CallbackOutcome",
    "CallbackWord",
    "Credential",
    "CredentialState",
    "CrmState",
    "Decision",
    "DecoyRequest",
    "DigestKey",
    "DoNotCall",
    "Form",
    "IllegalTransition",
    "JournalEntry",
    "KeptClick",
    "MovedBackwards",
    "Notification",
    "NotifiedPerson",
    "Outcome",
    "Portal",
    "PortalLine",
    "PortalSettings",
    "PortalSetup",
    "PortalState",
    "PostedTokens",
    "ReceivedEvent",
    "Rejection",
    "ReportFigure",
    "RestCall",
    "RuleRun",
    "RuleStage",
    "SavedFilter",
    "Source",
    "State",
    "Throttle",
    "TimelineEntry",
    "ToDo",
    "TokenBucket",
    "ToldStoppage",
    "UnknownPolicy",
    "User",
    "Webhook",
    "WebhookDelivery",
    "WebsiteRequest",
    "WidgetSighting",
    "first_id",
    "utcnow",
]
