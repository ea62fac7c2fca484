"""Two locks: production installs what runs, and no tool that develops or tests; both have the same versions."""

import ast
import re
import tomllib
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.support import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# What ships: the package, and what a server starts.
SHIPPED = [*sorted((ROOT / "bx24app").rglob("*.py")), *sorted((ROOT / "migrations").rglob("*.py"))]
SHIPPED += [
    ROOT / name
    for name in ("app.py", "gunicorn.conf.py", "buffering_socket.py", "buffering_worker.py", "server_log.py")
]
OURS = {"bx24app", "migrations", "buffering_socket", "buffering_worker", "server_log"}


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(lock: str) -> dict[str, str]:
    lines = (ROOT / lock).read_text().splitlines()
    return {normalized(line.split("==")[0]): line.split("==")[1].split()[0] for line in lines if "==" in line}


def named(requirements: list[str]) -> set[str]:
    return {normalized(re.split(r"[\[<>=!~ ;]", requirement, maxsplit=1)[0]) for requirement in requirements}


RUNTIME, DEVELOPMENT = pinned("requirements.lock"), pinned("requirements-dev.lock")


def test_no_development_tool_is_installed_in_production() -> None:
    tools = named(PROJECT["optional-dependencies"]["dev"])
    assert tools <= set(DEVELOPMENT)
    assert tools & set(RUNTIME) == set()
    assert named(PROJECT["dependencies"]) <= set(RUNTIME)


def needed(requirements: list[str]) -> set[str]:
    """What these need, and what that needs, as it is installed here."""
    found, waiting = set[tuple[str, frozenset[str]]](), [Requirement(text) for text in requirements]
    while waiting:
        one = waiting.pop()
        key = (normalized(one.name), frozenset(one.extras))
        if key in found:
            continue
        found.add(key)
        inner = [Requirement(text) for text in requires(one.name) or ()]
        extras = [{"extra": extra} for extra in one.extras or {""}]
        waiting += [each for each in inner if not each.marker or any(map(each.marker.evaluate, extras))]
    return {name for name, _ in found}


def test_production_installs_what_the_app_needs_and_nothing_else() -> None:
    optional = PROJECT["optional-dependencies"]
    assert set(RUNTIME) == needed([*PROJECT["dependencies"], *optional["fleet"], *optional["sentry"]])


def test_both_have_the_same_versions() -> None:
    assert {name: DEVELOPMENT.get(name) for name in RUNTIME} == RUNTIME


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_every_pin_has_a_hash_and_no_index_is_named(lock: str) -> None:
    text = (ROOT / lock).read_text()
    pins = re.findall(r"^\S+==\S+ \\\n    --hash=sha256:[0-9a-f]{64}", text, re.MULTILINE)
    assert len(pins) == len(pinned(lock))
    assert "://" not in text


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def test_whatever_the_app_imports_is_installed_in_production() -> None:
    providers = packages_distributions()
    third_party = {name for path in SHIPPED for name in imported(path)} & set(providers) - OURS
    assert {"flask", "sqlalchemy", "gunicorn"} <= third_party
    missing = {
        name for name in third_party if not {normalized(provider) for provider in providers[name]} & set(RUNTIME)
    }
    assert missing == set()


def test_development_installs_the_development_lock() -> None:
    recipe = (ROOT / "Makefile").read_text()
    assert "--require-hashes -r requirements-dev.lock" in recipe
    assert "--require-hashes -r requirements.lock" in (ROOT / "README.md").read_text()
