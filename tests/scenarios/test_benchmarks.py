"""``make bench`` runs from end to end and keeps what it measured; how fast it was is not this test's business."""

import json
import os
from pathlib import Path

import pytest

from tests.support.processes import run_python


@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_intake_is_measured_against_both_baselines(tmp_path: Path, database: str) -> None:
    output = tmp_path / "results.json"
    quick = ["--rounds", "2", "--seconds", "0.3", "--databases", database, "--output", str(output)]
    done = run_python("-m", "benchmarks", *quick)
    assert done.returncode == 0, done.stderr
    found = json.loads(output.read_text())
    assert [row["database"] for row in found["rows"]] == [database] * 2
    for row in found["rows"]:
        assert row["work"] in done.stdout
        assert row["per_second"] > 0
        assert set(row["baselines"]) == {"raw", "orm"}
        assert all(len(one["ratios"]) == 2 and one["ratio"] > 0 for one in row["baselines"].values())
    assert os.uname().nodename not in output.read_text()
