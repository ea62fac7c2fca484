"""The list of background jobs: every one that there is."""

from functools import partial

from bx24app.database.wal import empty_wal
from bx24app.messages.card_entries import entry_words
from bx24app.messages.follow_up import notice_text, todo_words
from bx24app.messages.rule_results import result_words
from bx24app.models import RuleStage
from bx24app.services import retention
from bx24app.services.crm import crm_requests
from bx24app.services.crm import lookup as crm_lookup
from bx24app.services.dialling import abandoned, call_events, call_history, deadlines, dial, queue, reconcile
from bx24app.services.native.automation import registration, rule_posts, rule_results, rule_runs, rule_start
from bx24app.services.native.follow_up import news, sending, stoppages, to_dos
from bx24app.services.native.timeline import kept_clicks
from bx24app.services.native.timeline import queue as entries
from bx24app.services.native.timeline import work as timeline_work
from bx24app.services.portals import api as portal_api
from bx24app.services.portals import bindings, payment, token_renewal, tokens, uninstall
from bx24app.services.reports import counting
from bx24app.services.runtime import wakeup
from bx24app.services.runtime.overlong_waits import end_overlong_waits
from bx24app.services.webhooks import delivery
from bx24app.worker.scheduler import AnyJob, Job, LeasedJob
from bx24app.worker.sharing import shared_job, within_seconds

# A dial waits and computes nothing. Half of them may be those of slow portals.
DIALS_AT_ONCE = 32
DELIVERIES_AT_ONCE = 16
CRM_REQUESTS_AT_ONCE = 8
TODOS_AT_ONCE = 4
NOTIFICATIONS_AT_ONCE = 4

# What is old is deleted; the database alone is asked.
_PURGES = (
    Job("purge_deliveries", 60.0, delivery.purge_deliveries),
    Job("purge_unmatched_events", 60.0, call_events.purge_unmatched),
    Job("purge_idle_tokens", 60.0, tokens.purge_idle),
    Job("purge_request_log", 60.0, portal_api.purge_request_log),
    Job("purge_uninstalled_portals", 60.0, uninstall.purge_uninstalled, is_repeated=True),
    Job("purge_callbacks", 60.0, retention.purge_callbacks),
    Job("purge_rule_runs", 600.0, rule_runs.purge_runs),
    Job("purge_notifications", 600.0, sending.purge_notifications),
    Job("purge_journal", 600.0, retention.purge_journal),
    Job("purge_visitors", 60.0, retention.purge_visitors),
)


def background_jobs(dials: int = DIALS_AT_ONCE) -> tuple[AnyJob, ...]:
    """List every job of a worker; ``dials``: how many dials may be in flight at once.

    Jobs that call portals or sites may hang for a minute, so each job has threads of its own. Leases are taken so
    that one portal never gets all the threads of a job. Whatever is done more often than every ten seconds says what is
    ``due``, so that a worker with nothing to do asks the database for all of it at once (``look.py``).
    """
    return (*_leased_jobs(dials), *_native_jobs(), *_asking_jobs(), *_own_jobs())


def _leased_jobs(dials: int) -> tuple[AnyJob, ...]:
    """Jobs that work on one row after the other."""
    lease_dials = partial(queue.lease_due, slow_at_once=max(1, dials // 2))
    return (
        LeasedJob(wakeup.DIAL, 0.1, lease_dials, dial.dial, dials, queue.due_portals, is_awaited_at_stop=True),
        # One of a portal's sites that hangs keeps its other sites no more waiting than those of others.
        shared_job(
            "deliver_webhooks",
            0.5,
            DELIVERIES_AT_ONCE,
            delivery.lease_delivery,
            delivery.deliver_round,
            delivery.due_deliveries,
            each=delivery.PER_PORTAL,
        ),
        shared_job(
            "find_crm_customers",
            0.5,
            CRM_REQUESTS_AT_ONCE,
            crm_requests.lease_crm_request,
            within_seconds(crm_lookup.process_crm_request),
            crm_requests.due_requests,
        ),
    )


def _native_jobs() -> tuple[AnyJob, ...]:
    """Jobs that work on one row after the other, for what people meet inside Bitrix24."""
    return (
        shared_job(
            "prove_clicks",
            1.0,
            kept_clicks.CLICKS_AT_ONCE,
            kept_clicks.lease_click,
            within_seconds(kept_clicks.work_on_click),
            kept_clicks.due_clicks,
        ),
        shared_job(
            "show_in_timeline", 0.5, entries.ENTRIES_AT_ONCE, entries.lease_entry, _show_entry, entries.due_entries
        ),
        shared_job(
            wakeup.WORK_ON_RULES,
            0.5,
            rule_runs.RUNS_AT_ONCE,
            rule_runs.lease_rule_run,
            within_seconds(_work_on_rule),
            rule_runs.due_runs,
        ),
        shared_job(
            "make_to_dos", 1.0, TODOS_AT_ONCE, to_dos.lease_to_do, within_seconds(_work_on_to_do), to_dos.due_to_dos
        ),
        shared_job(
            "send_notifications",
            1.0,
            NOTIFICATIONS_AT_ONCE,
            sending.lease_person,
            within_seconds(_tell_person),
            sending.due_people,
        ),
    )


def _asking_jobs() -> tuple[AnyJob, ...]:
    """Jobs that ask portals and the authorization server, each one thread a portal: a slow one fills no job."""
    return (
        Job(
            wakeup.READ_HISTORY,
            0.5,
            call_history.read_next_history,
            call_history.HISTORIES_AT_ONCE,
            is_repeated=True,
            due=call_history.due_portals,
        ),
        Job(
            "confirm_removals", 1.0, uninstall.confirm_removals, uninstall.REMOVALS_AT_ONCE, due=uninstall.told_portals
        ),
        Job("bind_again", 5.0, bindings.rebind_due, bindings.REBOUND_AT_ONCE, due=bindings.due_portals),
        Job(
            "register_rules",
            5.0,
            registration.register_due,
            registration.REGISTERED_AT_ONCE,
            due=registration.due_portals,
        ),
        Job("check_payments", 5.0, payment.check_payments, payment.ASKED_AT_ONCE, due=payment.due_portals),
        Job("check_portals", 30.0, portal_api.check_portals, portal_api.PORTALS_CHECKED_AT_ONCE),
        Job("renew_idle_tokens", 600.0, token_renewal.renew_idle, token_renewal.PORTALS_AT_ONCE),
    )


def _own_jobs() -> tuple[AnyJob, ...]:
    """Jobs that ask the database alone."""
    return (
        Job("expire_abandoned_dials", 1.0, abandoned.expire_abandoned, due=abandoned.abandoned_callbacks),
        Job("reconcile_calls", 1.0, reconcile.reconcile_pending, due=reconcile.due_reports),
        Job("end_rules", 1.0, rule_results.end_runs, due=rule_results.runs_to_end),
        Job("follow_up_callbacks", 1.0, news.follow_up_ended, is_repeated=True, due=news.oldest_news),
        Job("note_stoppages", 15.0, stoppages.StoppageWalk().go_on, is_repeated=True),
        Job("apply_deadlines", 5.0, deadlines.apply_deadlines, is_repeated=True, due=deadlines.overdue_callbacks),
        Job("count_reports", 2.0, counting.count_changed, due=counting.changed_callbacks),
        *_PURGES,
        Job("end_overlong_waits", 60.0, end_overlong_waits),
        Job("empty_wal", 60.0, empty_wal),
    )


def _show_entry(lease: entries.EntryLease) -> None:
    timeline_work.work_on_entry(lease, entry_words)


def _work_on_rule(lease: rule_runs.RuleLease) -> None:
    """Prove a run, start its callback, or send its result."""
    if lease.stage == RuleStage.UNPROVEN:
        rule_posts.prove(lease)
    elif lease.stage == RuleStage.RECEIVED:
        rule_start.start(lease)
    else:
        rule_results.send(lease, result_words)


def _work_on_to_do(lease: to_dos.ToDoLease) -> None:
    to_dos.work_on_to_do(lease, todo_words)


def _tell_person(lease: sending.NoticeLease) -> None:
    sending.tell_person(lease, notice_text)
