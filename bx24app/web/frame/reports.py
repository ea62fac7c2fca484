"""The section Reports: the figures of a period, as the address says."""

from http import HTTPMethod

from flask import render_template, request

from bx24app.errors import InvalidRequest, NotFound
from bx24app.messages.reasons import reason_sentence
from bx24app.services.callbacks.listing.periods import PeriodName
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.reports.overview import Overview, load_overview
from bx24app.web.frame.views import Section, View
from bx24app.web.presenters.reports import report_page
from bx24app.web.report_query import ReportQuery, read_report_query

# What the section shows first, and where the address cannot be followed.
FIRST_QUERY = ReportQuery(period=PeriodName.MONTH, compare=True)


def show_reports(principal: Principal) -> str:
    """The figures of the period and the filter of the address; an odd one is named, and the first figures are shown."""
    problem = ""
    try:
        query = _query()
        found = _load(principal, query)
    except (InvalidRequest, NotFound) as error:
        problem, query = reason_sentence(error.explanation), FIRST_QUERY
        found = _load(principal, query)
    page = report_page(found, period=query.period, chosen=query.filters, problem=problem)
    return render_template("desk/reports.html", page=page)


def _query() -> ReportQuery:
    """What the view is asked for; the page's own launch has other parameters."""
    return read_report_query() if request.method == HTTPMethod.GET and request.args else FIRST_QUERY


def _load(principal: Principal, query: ReportQuery) -> Overview:
    return load_overview(principal, query.period_chosen(), query.scope_chosen(), compares=query.compare)


SECTION = Section("reports", Role.VIEWER, (View("", show_reports),))
