"""The card of the first run: four steps, each with what is asked and what has come of it."""

from dataclasses import dataclass
from typing import Any

from flask_babel import gettext as _

from bx24app.messages.numbers import country_name
from bx24app.models import Portal
from bx24app.services.calling.business_hours import DAYS
from bx24app.services.diagnostics.first_run import FirstRun, Step, StepState
from bx24app.services.websites.editing.proposal import Proposal
from bx24app.web.presenters.forms import country_choices
from bx24app.web.presenters.hours import short_days
from bx24app.web.presenters.panels import own_lines, setting_options


@dataclass(frozen=True)
class StepRow:
    """A step: ``words`` beside its title say what has come of it, ``is_current`` that it is the next one."""

    name: str
    title: str
    state: str
    words: str
    is_current: bool


def first_run_card(run: FirstRun, portal: Portal, proposal: Proposal) -> dict[str, Any]:
    """What the card shows."""
    lines = own_lines(portal)
    ids = [id for id, _name in lines]
    line_id = portal.settings.default_line_id if portal.settings.default_line_id in ids else (ids or [""])[0]
    hours = portal.settings.hours or proposal.settings["hours"]
    week = week_words(hours)
    return {
        "steps": [_shown(step, run, dict(lines).get(line_id, ""), ": ".join(week[0])) for step in Step],
        "done": run.done,
        "is_over": run.current is None,
        "lines": lines,
        "line_id": line_id,
        "hours": hours,
        "hours_kept": bool(portal.settings.hours),
        "week": week,
        "holidays_of": country_name(hours["holidays"][:2]) if hours.get("holidays") else "",
        "editor": setting_options(portal),
        "settings": proposal.settings,
        "country": proposal.countries.get(line_id, ""),
        "countries": country_choices(portal),
        "snippet": run.snippet,
        "seen": run.seen,
    }


def _shown(step: Step, run: FirstRun, line_name: str, week: str) -> StepRow:
    titles = {
        Step.LINE: _("Line"),
        Step.HOURS: _("Hours"),
        Step.TEST: _("Test call"),
        Step.WEBSITE: _("Website"),
    }
    tasks = {
        Step.LINE: _("Choose the one that rings."),
        Step.HOURS: _("When may the app call by itself?"),
        Step.TEST: _("Hear what your colleagues will hear."),
        Step.WEBSITE: _("Put a callback button on it."),
    }
    state = run.steps[step]
    done = {
        Step.LINE: line_name,
        Step.HOURS: week,
        Step.TEST: _("Called"),
        Step.WEBSITE: _("Seen on %(site)s", site=run.seen.origin) if run.seen else _("Done"),
    }
    words = {
        StepState.DONE: done[step],
        StepState.SKIPPED: _("Skipped"),
        StepState.WAITING: _("Waits for your website"),
    }
    return StepRow(step, str(titles[step]), state, str(words.get(state, tasks[step])), run.current is step)


def week_words(hours: dict[str, Any]) -> list[tuple[str, str]]:
    """A week of working hours, days in a row with the same times together: ("Mon – Fri", "09:00 – 18:00")."""
    names, week = dict(short_days()), hours["week"]
    rows: list[tuple[list[str], list[list[str]]]] = []
    for day in DAYS:
        spans = [list(span) for span in week.get(day, [])]
        if rows and rows[-1][1] == spans:
            rows[-1][0].append(day)
        else:
            rows.append(([day], spans))
    return [(_days([names[day] for day in days]), _spans(spans)) for days, spans in rows]


def _days(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} – {names[-1]}"


def _spans(spans: list[list[str]]) -> str:
    return ", ".join(f"{start} – {end}" for start, end in spans) or str(_("closed"))
