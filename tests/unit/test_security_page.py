"""SECURITY.md names tests that exist, each threat with its check and what breaking it did."""

import ast
import re

import pytest

from tests.support import ROOT

PAGE = (ROOT / "SECURITY.md").read_text()
THREATS = PAGE.partition("## Threats")[2].partition("## Doors")[0]
ROWS = [line for line in THREATS.splitlines() if line.startswith("| ") and not line.startswith(("| threat", "| ---"))]
COLUMNS = 4


def existing_tests() -> set[str]:
    trees = [ast.parse(path.read_text()) for path in (ROOT / "tests").rglob("test_*.py")]
    found = (node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return {name for name in found if name.startswith("test_")}


def test_every_test_that_it_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 50
    assert named <= existing_tests()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:60])
def test_every_threat_has_a_check_a_test_and_its_proof(row: str) -> None:
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert len(cells) == COLUMNS
    assert all(cells)
    assert "`test_" in cells[2] or cells[2].startswith("the same")
    assert "failed" in cells[3] or "no check to break" in cells[3]


def test_no_threat_stands_here_twice() -> None:
    assert len(set(ROWS)) == len(ROWS)
    named = [(row.split("|")[1].strip(), row.split("|")[3].strip()) for row in ROWS]
    assert len(set(named)) == len(named)


def test_every_module_that_it_names_exists() -> None:
    for path in re.findall(r"`((?:services|bitrix24|web|models)/\w+\.py)`", PAGE):
        assert (ROOT / "bx24app" / path).exists(), path
