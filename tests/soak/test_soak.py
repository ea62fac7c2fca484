"""A short run of ``make soak``'s load with faults, and what its checks would say of a run that went wrong."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.soak.load import Answered
from tests.soak.plan import OF_PORTALS, OF_PROCESSES, PROCESSES_UNTIL, Fault, planned
from tests.soak.run import soak
from tests.soak.verdict import planned_errors, read_log, unplanned_answers, unplanned_errors
from tests.soak.watch import Sample, growth_of

# Slower than the whole run, for other tests run beside it.
SECONDS, RATE = 40.0, 20.0
BEGAN = datetime(2027, 3, 1, 9, tzinfo=UTC)
RESTART = Fault(10.0, "database restarted")


@pytest.mark.long
@pytest.mark.timeout(300)
def test_half_a_minute_of_load_with_every_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert soak("postgresql", tmp_path, SECONDS, RATE) == [], capsys.readouterr().out
    said = capsys.readouterr().out
    assert "minute 1: " in said
    assert "dialled" in said


def test_a_plan_has_every_fault_and_leaves_processes_alone_in_the_end() -> None:
    for seconds in (40.0, 600.0, 1800.0):
        faults = planned(1, seconds, 16)
        assert {fault.kind for fault in faults} == {*OF_PROCESSES, *OF_PORTALS}
        assert all(fault.at < seconds * PROCESSES_UNTIL for fault in faults if fault.kind in OF_PROCESSES)
    assert planned(1, 600, 16) == planned(1, 600, 16) != planned(2, 600, 16)


@pytest.mark.parametrize(
    ("answer", "is_planned"),
    [
        (Answered("list", 11.0, 503, 0.1), True),
        # Asked before, answered while it lasts.
        (Answered("list", 9.0, 503, 2.0), True),
        (Answered("list", 40.0, 503, 0.1), False),
        (Answered("list", 11.0, 500, 0.1), False),
        (Answered("staff call", 11.0, 0, 0.1), False),
    ],
)
def test_an_answer_is_excused_by_a_fault_that_explains_it(answer: Answered, is_planned: bool) -> None:
    assert (unplanned_answers([answer], [RESTART]) == []) is is_planned
    assert bool(planned_errors([answer], [RESTART])) is is_planned


@pytest.mark.parametrize(
    ("seconds", "level", "is_planned"), [(11, "error", True), (60, "error", False), (60, "info", True)]
)
def test_an_error_in_the_log_is_excused_by_a_restart_of_the_database(
    seconds: int, level: str, is_planned: bool
) -> None:
    line = {"event": "job_failed", "level": level, "timestamp": (BEGAN + timedelta(seconds=seconds)).isoformat()}
    logged = read_log([json.dumps(line)], BEGAN)
    assert (unplanned_errors(logged, [RESTART]) == []) is is_planned


def test_a_trace_that_is_no_line_of_the_app_is_an_error() -> None:
    assert unplanned_errors(read_log(["Traceback (most recent call last):"], BEGAN), [RESTART]) != []
    assert unplanned_errors(read_log(["[2027-03-01 09:00:00] [1] [INFO] Booting worker"], BEGAN), [RESTART]) == []


@pytest.mark.parametrize(
    ("megabytes", "files", "found"),
    [(0.0, 0.0, 0), (0.05, 0.0, 0), (1.0, 0.0, 1), (0.0, 2.0, 1), (1.0, 2.0, 2)],
)
def test_what_grows_is_named(megabytes: float, files: float, found: int) -> None:
    """By so much with each sample."""
    seen = [Sample(float(n), 90 + n * megabytes, round(40 + n * files)) for n in range(60)]
    assert len(growth_of("web 1", seen)) == found
