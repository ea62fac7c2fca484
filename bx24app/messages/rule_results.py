"""What an automation rule's log says of the callback it has started."""

from flask_babel import gettext as _
from flask_babel import ngettext

from bx24app.messages.reasons import reason_sentence
from bx24app.messages.states import StateFacts, state_label
from bx24app.services.native.automation.rule_results import NOT_CALLED, RunResult


def result_words(result: RunResult) -> str:
    """The result as sentences, in the present locale: where the callback ended, who talked, and why not."""
    if result.state == NOT_CALLED:
        return reason_sentence(result.reason)
    facts = StateFacts(result.state, result.reason, duration_seconds=result.duration)
    words = [f"{_('Callback')}: {state_label(facts)}."]
    if result.answered_by:
        words.append(str(_("Picked up: %(name)s.", name=result.answered_by)))
    if result.attempts > 1:
        words.append(str(ngettext("%(num)s attempt.", "%(num)s attempts.", result.attempts)))
    if result.reason:
        words.append(reason_sentence(result.reason))
    return " ".join(words)
