"""Registering our automation rules with a portal, and again when an update has removed them or a list has changed.

A portal whose plan has no automation, or that has not granted the scope ``bizproc``, loses nothing but the rules.
"""

import hashlib
import json
from collections.abc import Collection
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Select, or_, select

from bx24app.bitrix24.answers import Json
from bx24app.bitrix24.bizproc import RuleRegistration, reconcile_rules
from bx24app.bitrix24.errors import InsufficientScope
from bx24app.database import reading, writing
from bx24app.errors import Refusal
from bx24app.i18n import language_for
from bx24app.models import Portal, PortalState, utcnow
from bx24app.models.lease import is_long_ago
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.portals import api as portal_api
from bx24app.services.portals import token_renewal
from bx24app.services.portals.manifest import RULES_SCOPE, RuleField, RuleText, manifest
from bx24app.services.portals.places.parts import MissingPart, PartKind, keep_missing_parts
from bx24app.services.portals.throttle import without_spare
from bx24app.services.runtime.slots import PortalSlots, work_through
from bx24app.settings import settings

log = structlog.get_logger(__name__)

RULES_RETRY_AFTER = timedelta(hours=1)
REGISTERED_AT_ONCE = 8
# So many lines and voices are offered in a rule; each has an option of its own.
MAX_RULE_OPTIONS = 500
_USUAL = {"en": "The usual one", "ru": "Обычная"}
_USUAL_VOICE = {"en": "The usual one", "ru": "Обычный"}
_registering = PortalSlots("register_rules", each=1, in_all=REGISTERED_AT_ONCE)


def rules_of(portal: Portal) -> list[RuleRegistration]:
    """The rules as a portal shall know them now, with its own lines and voices to choose from."""
    language = language_for(portal.language)
    lines = {line.line_id: line.name or line.line_id for line in portal.usable_lines}
    options = {
        "line": {"": _USUAL[language], **lines},
        "voice": {"": _USUAL_VOICE[language], **{str(id): str(name) for id, name in (portal.voices or {}).items()}},
    }
    properties = {field.id: _descriptor(field, options, language) for field in manifest().properties}
    results = {field.id: _descriptor(field, {}, language) for field in manifest().results}
    return [RuleRegistration(rule.code, _fields(rule, properties, results)) for rule in manifest().rules]


def _descriptor(field: RuleField, options: dict[str, dict[str, str]], language: str) -> dict[str, Json]:
    described: dict[str, Json] = {"Name": dict(field.name), "Type": field.type}
    offered = options.get(field.id) or {value: texts[language] for value, texts in field.options.items()}
    if offered:
        few: dict[str, Json] = dict(list(offered.items())[:MAX_RULE_OPTIONS])
        described |= {"Options": few, "Default": next(iter(offered))}
    return described


def _fields(rule: RuleText, properties: dict[str, Json], results: dict[str, Json]) -> dict[str, Json]:
    return {
        "HANDLER": settings.public_origin + manifest().urls["rules"],
        "NAME": dict(rule.name),
        "DESCRIPTION": dict(rule.description),
        # Always sent: where it is missing, each administrator chooses in each rule (docs and portals differ).
        "USE_SUBSCRIPTION": "Y" if rule.waits else "N",
        "PROPERTIES": properties,
        "RETURN_PROPERTIES": results if rule.waits else {},
        "FILTER": {"INCLUDE": [["crm"]]},
    }


def _digest(rules: list[RuleRegistration]) -> str:
    told = [[rule.code, rule.fields] for rule in rules]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def register_due() -> int:
    """Register what portals lack of our rules; returns how many were asked.

    They are looked at with the bindings: after an update, and once a day. Where it failed it is tried each hour.
    """
    return work_through(_registering, _next_due, _register)


def due_portals(now: datetime, besides: Collection[int] = ()) -> Select[int]:
    """Select the portal whose rules were registered longest ago, of those that are due."""
    failed = Portal.rules_digest.is_(None) & is_long_ago(Portal.rules_at, now, RULES_RETRY_AFTER)
    is_due = or_(Portal.rules_at.is_(None), failed)
    query = select(Portal.id).where(Portal.state == PortalState.INSTALLED, is_due, Portal.id.not_in(besides))
    return query.where(Portal.id.not_in(without_spare(now))).order_by(Portal.rules_at).limit(1)


def _next_due(besides: Collection[int]) -> int | None:
    with reading() as session:
        return session.scalar(due_portals(utcnow(), besides))


def _register(portal_id: int) -> int:
    asked_at = utcnow()
    with writing() as session:
        portal = session.get_one(Portal, portal_id, with_for_update=True)
        known, portal.rules_digest, portal.rules_at = portal.rules_digest, None, asked_at
        rules = rules_of(portal)
    digest = _digest(rules)
    missing = _reconcile(portal, rules, is_changed=known != digest)
    with writing() as session:
        row = session.get_one(Portal, portal_id, with_for_update=True)
        # An update that came meanwhile has removed them, or a list has changed: then it is done again.
        row.rules_digest = None if missing else digest
        keep_missing_parts(row, PartKind.RULES, missing)
    log.info("rules_registered", member_id=portal.member_id, missing=[part.code or part.lacks for part in missing])
    return 1


def _reconcile(portal: Portal, rules: list[RuleRegistration], *, is_changed: bool) -> list[MissingPart]:
    """Tell the portal our rules; returns what it does not have after it. One that lacks the scope is not asked."""
    name = PartKind.RULES.value
    if portal.granted_scopes is not None and RULES_SCOPE not in portal.granted_scopes:
        return [MissingPart(name, RULES_SCOPE)]
    try:
        # An administrator whose portal denies it may do everything else: nobody takes over from them.
        access = token_renewal.service_access(portal.id)
        label = portal_api.RequestLabel("bizproc.robot.add", {})
        portal_api.call(access, label, lambda client: reconcile_rules(client, rules, is_changed=is_changed))
    except InsufficientScope:
        return [MissingPart(name, RULES_SCOPE)]
    except (ExchangeError, Refusal) as error:
        return [MissingPart(name, code=error.code, words=error.words or "")]
    return []
