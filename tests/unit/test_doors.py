"""The tables of doors in SECURITY.md name every route, event and job that exists, and whom they let in."""

import ast
import json
import re
from collections.abc import Iterator

import pytest
from flask import Flask

from bx24app import create_app
from bx24app.services.callbacks.roles import Role
from bx24app.services.dialling import call_events
from bx24app.services.portals.install import Installation
from bx24app.services.portals.launch import Launch
from bx24app.web.frame.guards import proven_by
from bx24app.web.guards import guard_of
from bx24app.worker.jobs import background_jobs
from tests.conftest import plain_environ
from tests.support import ROOT
from tests.support.routes import methods_of

DOORS = (ROOT / "SECURITY.md").read_text().partition("## Doors")[2].partition("\n## ")[0]
COLUMNS = 4
NAME = re.compile(r"`([^`]+)`")
# What a browser asks before a site's own script may post.
PREFLIGHT = "OPTIONS /w/<key:form_key>/callbacks"
PROVEN = {Launch: "person of the portal", Installation: "administrator of the portal"}


def table(heading: str) -> Iterator[list[str]]:
    """The cells of each row under a heading."""
    part = DOORS.partition(f"### {heading}\n")[2].partition("\n### ")[0]
    rows = [line for line in part.splitlines() if line.startswith("| ")]
    return ([cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:])


def named(heading: str) -> list[str]:
    return [name for row in table(heading) for name in NAME.findall(row[0])]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    path = tmp_path_factory.mktemp("doors") / "none.db"
    return create_app({**plain_environ(), "BX24APP_DATABASE_URL": f"sqlite:///{path}"})


def routes(app: Flask) -> dict[str, str]:
    """Whom each method of each route lets in, as its guard says it."""
    found: dict[str, str] = {}
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        guard, proven = guard_of(view), proven_by(view)
        who = PROVEN[proven] if proven else "anybody"
        if guard is not None:
            who = guard.role.name.lower() + (" or API key" if guard.lets_keys_in else "")
        found |= {f"{method} {rule.rule}": who for method in methods_of(rule)}
    return found | {PREFLIGHT: "anybody"}


def event_names() -> set[str]:
    """The events that the manifest binds, and those that the code tells apart."""
    bound = json.loads((ROOT / "manifest" / "app.json").read_text())["events"]
    nodes = [
        node
        for path in (ROOT / "bx24app").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"ON[A-Z]{4,}", node.value)
    ]
    return {*bound, *call_events.TELEPHONY, *(str(node.value) for node in nodes)}


@pytest.mark.parametrize("heading", ["Routes", "Events", "Jobs"])
def test_every_row_is_whole_and_no_door_stands_twice(heading: str) -> None:
    rows = list(table(heading))
    assert rows
    assert all(len(row) == COLUMNS and all(row) and NAME.search(row[0]) for row in rows)
    assert len(named(heading)) == len(set(named(heading)))


def test_every_route_has_a_line_that_says_whom_it_lets_in(built: Flask) -> None:
    said = {name: row[1] for row in table("Routes") for name in NAME.findall(row[0])}
    found = routes(built)
    assert set(said) == set(found)
    for name, who in found.items():
        assert said[name] == who or said[name].startswith((f"{who};", f"{who} with")), (name, who)


def test_every_event_has_a_line() -> None:
    assert set(named("Events")) == event_names()


def test_every_job_has_a_line() -> None:
    assert set(named("Jobs")) == {job.name for job in background_jobs()}


def test_roles_are_called_as_the_table_calls_them() -> None:
    assert {role.name.lower() for role in Role} == {"none", "viewer", "operator", "administrator"}
