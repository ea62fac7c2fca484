"""Starting the callback of a rule's run: reading the number of its document, and accepting it as every other one."""

from datetime import datetime, timedelta

import structlog
from sqlalchemy.orm import Session

from bx24app.bitrix24.bizproc import is_signed
from bx24app.bitrix24.client import PortalClient
from bx24app.bitrix24.company.cards import card_commands, kind_of, read_card
from bx24app.bitrix24.crm import CrmEntity
from bx24app.crypto import SealBroken, keyring
from bx24app.database import reading, writing
from bx24app.errors import CrmUnreadable, InvalidNumber, NumberInHand, PortalDisconnected, Refusal, Retry
from bx24app.models import WAITING, Callback, Portal, RuleRun, RuleStage, Source, utcnow
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.callbacks.accept import accept, earlier_answer, prepare_for_insert
from bx24app.services.callbacks.conditions import NOT_LISTED, Candidate, Obstacle
from bx24app.services.callbacks.desk import KINDS_FIRST
from bx24app.services.callbacks.idempotency import rule_key
from bx24app.services.callbacks.request import FURTHEST_SCHEDULE
from bx24app.services.callbacks.retry_policy import expiry_of
from bx24app.services.calling import do_not_call, phone_numbers, spoken_text
from bx24app.services.calling.business_hours import hours_in_force
from bx24app.services.native.automation.properties import RuleProperties, RuleUnreadable, first_number, read_properties
from bx24app.services.native.automation.rule_runs import RuleLease, forged_by, leased_run, line_up_again, put_behind
from bx24app.services.portals import api as portal_api
from bx24app.services.portals import lines, token_renewal
from bx24app.services.runtime.rate_limit import first_empty, take_tokens

log = structlog.get_logger(__name__)

# The older a run is, the longer it waits for the next try.
SHORTEST_START_WAIT, LONGEST_START_WAIT = timedelta(seconds=5), timedelta(minutes=10)
# After so long nobody expects a call any more.
STARTED_WITHIN = expiry_of(Source.ROBOT)
# A rule names a time to the minute, and runs a moment later.
LATE = timedelta(minutes=5)


def start(lease: RuleLease) -> None:
    """Make the callback of a leased run, or record why there is none; commits. Idempotent: its key is the run's."""
    with reading() as session:
        run, portal = session.get(RuleRun, lease.run_id), session.get(Portal, lease.portal_id)
    if run is None or portal is None:
        return
    try:
        if not _is_signed(run, portal):
            _forget_forged(lease, portal)
            return
        outcome = run.reason or _accepted(run, portal)
    except (ExchangeError, Refusal) as error:
        _not_started(lease, run, error)
        return
    with writing() as session:
        mine = leased_run(session, lease)
        if mine is None:
            return
        line_up_again(session, mine)
        if mine.stage != RuleStage.RECEIVED:
            # Its number was erased meanwhile, and there is a callback again.
            _take_back(session, run, outcome)
        elif isinstance(outcome, str):
            mine.end(utcnow(), outcome)
        else:
            mine.follow(outcome.id)
    log.info("rule_started", run=lease.run_id, reason=outcome if isinstance(outcome, str) else None)


def _is_signed(run: RuleRun, portal: Portal) -> bool:
    """Let the portal say whether the run is one of its own; raises ``ExchangeError``, ``Refusal``."""
    try:
        token = run.token(keyring, portal.member_id)
    except SealBroken as error:
        raise RuleUnreadable("rule_token") from error
    # Access is denied to the token, so it says nothing about the administrator.
    access = token_renewal.service_access(portal.id)
    label = portal_api.RequestLabel("bizproc.activity.log", {})
    return portal_api.call(access, label, lambda client: is_signed(client, token))


def _forget_forged(lease: RuleLease, portal: Portal) -> None:
    """Delete a run that the portal does not know; nobody waits for it."""
    with writing() as session:
        if (mine := leased_run(session, lease)) is not None:
            session.delete(mine)
            forged, at = [forged_by(portal, mine.user_id)], utcnow().timestamp()
            # One more than there is room for changes nothing.
            take_tokens(session, forged, at)
            if first_empty(session, forged, at):
                put_behind(session, portal.id, mine.user_id)
            log.warning("rule_forged", member_id=portal.member_id, user=mine.user_id)


def _take_back(session: Session, run: RuleRun, outcome: Callback | str) -> None:
    made = session.get(Callback, outcome.id, with_for_update=True) if isinstance(outcome, Callback) else None
    if made is not None and made.idempotency_key == rule_key(run.token_digest) and made.state in WAITING:
        session.delete(made)


def _not_started(lease: RuleLease, run: RuleRun, error: ExchangeError | Refusal) -> None:
    """A portal that is busy or silent is asked again within the day; what it refuses, or what is wrong, is the end."""
    now = utcnow()
    log.info("rule_not_started", run=lease.run_id, reason=error.code)
    with writing() as session:
        mine = leased_run(session, lease)
        if mine is None or mine.stage != RuleStage.RECEIVED:
            return
        if _may_pass(error) and now - run.made_at < STARTED_WITHIN:
            mine.put_off(now + min(max(SHORTEST_START_WAIT, (now - run.made_at) / 2), LONGEST_START_WAIT))
        else:
            line_up_again(session, mine)
            mine.end(now, error.explanation if isinstance(error, Refusal) else error.code)


def _may_pass(error: ExchangeError | Refusal) -> bool:
    """Tell whether the run waits: a portal that was disconnected or unpaid in this moment may come back."""
    may_return = error.revokes_credential or isinstance(error, PortalDisconnected)
    return may_return or isinstance(error, NumberInHand) or error.retry is not Retry.NEVER


def _accepted(run: RuleRun, portal: Portal) -> Callback | str:
    """Accept the callback; returns it, or one that has the same number in hand, or the reason why there is none."""
    key = rule_key(run.token_digest)
    earlier = earlier_answer(portal.id, key, run.token_digest)
    if isinstance(earlier, Callback):
        return earlier  # A worker died before it had noted this.
    chosen = read_properties(run.properties, portal, run.made_at)
    if max(chosen.at or run.made_at, run.made_at) < utcnow() - STARTED_WITHIN:
        return "due_too_late"
    number, name = _number(run, portal, chosen)
    callback = _callback(run, portal, chosen, number, name)
    digest = do_not_call.number_digest(number)
    outcome = accept(lambda: Candidate(prepare_for_insert(callback), callback.created_at, number_digest=digest))
    if isinstance(outcome, Callback):
        return outcome
    assert isinstance(outcome, Obstacle), "only visitors have decoys"
    # Two documents of one customer: they are called once, and both go on by the end of that call.
    found = outcome.earlier or outcome.holder
    if isinstance(found, Callback):
        return found
    if outcome.condition == NOT_LISTED:
        return "do_not_call"
    raise NumberInHand(None)  # It has just been given back.


def _number(run: RuleRun, portal: Portal, chosen: RuleProperties) -> tuple[str, str]:
    """The number to dial and whose it is; raises ``InvalidNumber``, ``NumberNotAllowed``, ``ExchangeError``."""
    country = portal.settings.default_country
    if chosen.number:
        return phone_numbers.dialled_number(first_number(chosen.number, country), country), ""
    if run.entity_type is None or run.entity_id is None:
        raise InvalidNumber("number", "rule_number")
    card = _read_card(portal.id, _kind(run) or "", run.entity_id)
    kinds = {kind: place for place, kind in enumerate(KINDS_FIRST)}
    for phone in sorted(card.phones, key=lambda one: kinds.get(one.kind, len(kinds))):
        read = phone_numbers.read_number(phone.value, country)
        if read.can_be_dialled and read.e164:
            return read.e164, phone.owner or card.name
    raise InvalidNumber("number", "rule_card_number" if card.phones else "rule_card_empty")


def _kind(run: RuleRun) -> str | None:
    return kind_of(run.type_id) if run.type_id else run.entity_type


def _read_card(portal_id: int, kind: str, id: int) -> CrmEntity:
    def ask(client: PortalClient) -> CrmEntity:
        return read_card(kind, id, client.batch(card_commands(kind, id)))

    try:
        return portal_api.call_for_portal(portal_id, portal_api.RequestLabel("batch", {"card": f"{kind} {id}"}), ask)
    except CrmUnreadable as error:
        raise RuleUnreadable("rule_card_gone") from error


def _callback(run: RuleRun, portal: Portal, chosen: RuleProperties, number: str, name: str) -> Callback:
    line_id = chosen.line_id or portal.settings.default_line_id
    if not line_id:
        raise RuleUnreadable("rule_line")
    voice_id = chosen.voice_id or portal.settings.default_voice_id
    if voice_id:
        lines.require_voice(portal.id, voice_id)
    line_name = lines.cached_line_name(portal, line_id) or lines.require_line(portal.id, line_id)
    now = utcnow()
    planned = _planned(run, portal, chosen, now)
    text = chosen.text or portal.settings.default_text or spoken_text.default_text(portal.language)
    return Callback(
        portal_id=portal.id,
        to_number=number,
        customer_name=spoken_text.one_line(name)[:255] or None,
        line_id=line_id,
        line_name=line_name[:255],
        voice_id=voice_id or None,
        text=spoken_text.staff_text(text, name),
        source=Source.ROBOT,
        requested_by=run.user_id if chosen.as_person else None,
        crm_entity_type=_kind(run),
        crm_entity_id=run.entity_id,
        idempotency_key=rule_key(run.token_digest),
        # One token is one run: nothing else can come with it.
        request_digest=run.token_digest,
        scheduled_at=planned if planned > now else None,
        due_at=planned,
        expires_at=planned + STARTED_WITHIN,
        created_at=now,
        updated_at=now,
        attempts=[],
        decisions=[],
    )


def _planned(run: RuleRun, portal: Portal, chosen: RuleProperties, now: datetime) -> datetime:
    """When it is due; a time that has passed while the run waited means now. Raises ``RuleUnreadable``."""
    chosen_at = chosen.at or now
    if chosen_at < run.made_at - LATE or chosen_at > now + FURTHEST_SCHEDULE:
        raise RuleUnreadable("rule_time_past" if chosen_at < now else "rule_time_far")
    wanted = max(chosen_at, now)
    hours = hours_in_force(portal) if chosen.in_hours else None
    if hours is None or hours.is_open(wanted):
        return wanted
    opens_at = hours.next_open(wanted)
    if opens_at is None:
        raise RuleUnreadable("rule_hours")
    return opens_at
