"""What the start bar shows beside its fields: the times for a later call, and what will be said."""

from collections import Counter
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from flask_babel import format_date
from flask_babel import gettext as _

from bx24app.models import WebsiteRequest
from bx24app.services.callbacks.queries import NamedCallback
from bx24app.services.calling.business_hours import Hours
from bx24app.services.calling.call_times import OfferedTimes
from bx24app.services.calling.spoken_text import SpokenText


def said_words(said: SpokenText | None) -> str:
    """Say how a text will sound, and for how long; empty where it cannot be said."""
    if said is None:
        return ""
    return str(_("Will be said: “%(text)s”, about %(seconds)s s.", text=said.text, seconds=said.seconds))


def asked_words(named: NamedCallback, sent: WebsiteRequest | None) -> dict[str, Any]:
    """Who asked for the callback whose call is going on, when, on which page, and about what."""
    callback = named.callback
    asker = callback.customer_name if sent else named.names.get(callback.requested_by or 0)
    return {
        "who": asker or (_("The customer") if sent else _("A colleague")),
        "at": callback.created_at,
        "page": sent.page if sent else "",
        "topic": sent.topic if sent else "",
    }


def later_form(offered: OfferedTimes, hours: Hours | None) -> dict[str, Any]:
    """The days, times and words of a planned call."""
    zone = ZoneInfo(offered.zone)
    clocks = [time.at.astimezone(zone) for time in offered.times]
    seen = Counter(clock.strftime("%H:%M") for clock in clocks)
    return {
        "zone": offered.zone,
        "days": [
            {"value": day.isoformat(), "words": _day(offered, day), "is_chosen": day == offered.day}
            for day in offered.days
        ],
        "first_day": offered.days[0].isoformat(),
        "last_day": offered.last_day.isoformat(),
        "other_day": "" if offered.day in offered.days else offered.day.isoformat(),
        "day_words": format_date(offered.day, "EEE d MMM"),
        "times": [
            {
                "at": time.at.isoformat(),
                # The clock shows an hour twice when it is set back: its name tells the two apart.
                "words": clock.strftime("%H:%M") + (f" {clock.tzname()}" if seen[clock.strftime("%H:%M")] > 1 else ""),
                "is_chosen": time.at == offered.chosen,
                "is_open": time.is_open,
            }
            for time, clock in zip(offered.times, clocks, strict=True)
        ],
        "hours": _hours(offered, hours),
        "opening": None if offered.opening is None else offered.opening.isoformat(),
        "opening_words": "" if offered.opening is None else _moment_words(offered, zone),
        "tomorrow": offered.tomorrow.isoformat(),
    }


def _moment_words(offered: OfferedTimes, zone: ZoneInfo) -> str:
    assert offered.opening is not None
    opens = offered.opening.astimezone(zone)
    return f"{format_date(opens.date(), 'EEE')} {opens:%H:%M}"


def _day(offered: OfferedTimes, day: date) -> str:
    near = {offered.days[0]: _("Today"), offered.days[1]: _("Tomorrow")}
    return str(near.get(day) or format_date(day, "EEE d MMM"))


def _hours(offered: OfferedTimes, hours: Hours | None) -> str:
    if hours is None:
        return str(_("Times of %(zone)s. No working hours are set.", zone=offered.zone))
    spans = hours.spans_on(offered.day)
    if not spans:
        return str(_("Closed on this day, %(zone)s.", zone=offered.zone))
    words = ", ".join(f"{begin}–{end}" for begin, end in spans)
    return str(_("Working hours %(hours)s, %(zone)s.", hours=words, zone=offered.zone))
