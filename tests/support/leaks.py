"""The look for leaks: no secret that a test made may stand in its logs, its database, or the artefacts of the run.

The hooks at the end make a leaking test fail, and with artefacts the whole run.
"""

import re
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, inspect, text

from tests.support.database import engine_for
from tests.support.remembered import MADE

ARTIFACTS = Path("artifacts")
# Fetched from npm before any secret was made.
FETCHED = "npm"
# A thread of the test before may still speak: its secrets are looked for too.
OVERLAP = 200
LONG = re.compile(rb"[\w.+/=~-]{24,}")
MARK = pytest.StashKey[int]()
LEAKING = pytest.StashKey[list[str]]()


def found_in(content: str | bytes, secrets: Iterable[str]) -> list[str]:
    """The beginnings of the secrets that stand in a text or in bytes."""
    known = dict.fromkeys(secrets)
    if isinstance(content, str):
        return [f"{secret[:12]}..." for secret in known if secret in content]
    return [f"{secret[:12]}..." for secret in known if secret.encode() in content]


def found_among_many(content: bytes, secrets: set[bytes]) -> list[str]:
    """The same for thousands of secrets: every long word is looked at once."""
    lengths = {len(secret) for secret in secrets}
    words = (match[0] for match in LONG.finditer(content))
    pieces = (word[at : at + size] for word in words for size in lengths for at in range(len(word) - size + 1))
    return [f"{piece[:12].decode()}..." for piece in pieces if piece in secrets]


def _rows(engine: Engine) -> str:
    """Every row of every table, as text."""
    with engine.connect() as connection:
        names = inspect(connection).get_table_names()
        parts = " UNION ALL ".join(f'SELECT CAST("{name}".* AS text) FROM "{name}"' for name in names)
        return "\n".join(connection.execute(text(parts)).scalars()) if parts else ""


def database_content(url: str) -> str | bytes:
    """Everything a database holds: the bytes of SQLite's files (deleted rows too), or PostgreSQL's rows."""
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        files = [file for file in sorted(path.parent.glob(f"{path.name}*")) if file.is_file()]
        # Most of it is empty pages, which would be searched for each secret.
        return b"\n".join(file.read_bytes().translate(None, b"\0") for file in files)
    return _rows(engine_for(url))


def check_database(url: str, secrets: Iterable[str]) -> None:
    """Fail when a secret stands in a database."""
    leaked = found_in(database_content(url), secrets)
    assert leaked == [], f"secrets in the database: {leaked}"


def recent(item: pytest.Item) -> list[str]:
    """The secrets of this test, and the last ones of the tests before."""
    return MADE[max(0, item.stash.get(MARK, 0) - OVERLAP) :]


def leaking_artifacts(folder: Path = ARTIFACTS) -> list[str]:
    """Files of the run that hold a secret."""
    secrets = {secret.encode() for secret in MADE}
    files = [path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder).parts[0] != FETCHED]
    return [f"{path}: {leaked}" for path in files if (leaked := found_among_many(path.read_bytes(), secrets))]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[MARK] = len(MADE)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    leaked = found_in("\n".join(content for _, content in report.sections), recent(item))
    if leaked:
        report.outcome = "failed"
        report.longrepr = f"secrets in the logs or the output of the test: {leaked}"
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a process of a parallel run has made."""
    MADE.extend(getattr(node, "workeroutput", {}).get("secrets", []))


def pytest_sessionfinish(session: pytest.Session) -> None:
    told = getattr(session.config, "workeroutput", None)
    if told is not None:
        # One of several processes: whoever started them looks at the artefacts, with the secrets of all.
        told["secrets"] = MADE
        return
    session.config.stash[LEAKING] = leaking = leaking_artifacts()
    if leaking:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for leak in config.stash.get(LEAKING, []):
        terminalreporter.write_line(f"secrets in an artefact: {leak}", red=True)
    terminalreporter.write_line(f"{len(MADE)} secrets were made and looked for")
