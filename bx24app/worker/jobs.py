"""The list of background jobs."""

from bx24app.services import retention
from bx24app.services.crm import lookup as crm_lookup
from bx24app.services.dialling import call_events, call_history, deadlines, queue, reconcile
from bx24app.services.portals import api as portal_api
from bx24app.services.portals import bindings, payment, token_renewal, tokens, uninstall
from bx24app.services.webhooks import delivery
from bx24app.worker.scheduler import Job


def database_jobs() -> list[Job]:
    """Small jobs on the database alone, done between two looks for due callbacks."""
    return [
        Job(1.0, queue.expire_abandoned),
        Job(1.0, reconcile.reconcile_pending),
        Job(0.5, delivery.start_due_deliveries),
        Job(0.5, crm_lookup.start_due_crm_requests),
        Job(5.0, deadlines.apply_deadlines),
        Job(60.0, delivery.purge_deliveries),
        Job(60.0, call_events.purge_unmatched),
        Job(60.0, tokens.purge_idle),
        Job(600.0, portal_api.purge_request_log),
        Job(600.0, uninstall.purge_uninstalled),
        Job(600.0, retention.purge_callbacks),
        Job(600.0, retention.purge_public),
    ]


def portal_jobs() -> list[Job]:
    """Jobs that ask Bitrix24: in threads of their own, for a portal that hangs must not keep others waiting."""
    return [
        Job(0.5, call_history.read_next_history, at_once=4),
        Job(1.0, uninstall.confirm_removals),
        Job(5.0, bindings.rebind_due),
        Job(5.0, payment.check_payments),
        Job(600.0, token_renewal.renew_idle),
    ]
