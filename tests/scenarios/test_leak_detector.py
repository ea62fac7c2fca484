"""The look for leaks finds what is planted: in a database, a log, the output, an artefact."""

import os
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import text

from bx24app.database import writing
from tests.support import ROOT, leaks
from tests.support.actors import Actor
from tests.support.processes import Finished, run_python
from tests.support.remembered import MADE

# A run of its own, in which a test plants a secret.
PLANTED = """
import logging, pathlib, sys
from tests.support.leaks import *
from tests.support.remembered import remember
SECRET = remember("canary-" + "x" * 40)

def test_a_leak():
    {leak}
"""
PLANTS = {
    "log": 'logging.getLogger("x").warning("token=%s", SECRET)',
    "output": "print(SECRET)",
    "errors": "sys.stderr.write(SECRET)",
    "artefact": 'p = pathlib.Path("artifacts"); p.mkdir(); (p / "page.html").write_text("a=" + SECRET + ";")',
}


def run(folder: Path, leak: str) -> Finished:
    (folder / "conftest.py").write_text("from tests.support.leaks import *")
    (folder / "test_planted.py").write_text(PLANTED.format(leak=leak))
    options = ["-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", ".", "--basetemp=tmp"]
    environ = {"PYTHONPATH": str(ROOT)}
    return run_python("-m", "pytest", *options, "test_planted.py", environ=environ, folder=folder)


@pytest.mark.parametrize("place", PLANTS)
def test_a_planted_secret_makes_the_run_fail(tmp_path: Path, place: str) -> None:
    done = run(tmp_path, PLANTS[place])
    assert done.returncode == 1, done.stdout
    assert "secrets in" in done.stdout
    assert "canary-xxxxx..." in done.stdout


def test_a_run_without_a_leak_passes(tmp_path: Path) -> None:
    done = run(tmp_path, 'assert SECRET; print(SECRET[:20]); logging.getLogger("x").warning("nothing")')
    assert done.returncode == 0, done.stdout
    assert "1 secrets were made and looked for" in done.stdout


@pytest.mark.parametrize("deleted", [False, True])
def test_a_secret_in_a_database_is_found(app: Flask, manager: Actor, database_url: str, deleted: bool) -> None:
    secret = "planted-" + "y" * 40
    with app.app_context(), writing() as session:
        session.execute(text("UPDATE portal_settings SET default_text = :secret"), {"secret": f"say {secret} twice"})
    if deleted:
        with app.app_context(), writing() as session:
            session.execute(text("UPDATE portal_settings SET default_text = NULL"))
    # PostgreSQL's rows are looked at, SQLite's bytes.
    if deleted and database_url.startswith("postgresql"):
        leaks.check_database(database_url, [secret])
    else:
        with pytest.raises(AssertionError, match="secrets in the database"):
            leaks.check_database(database_url, [secret])


def test_what_was_made_is_known(manager: Actor) -> None:
    token = manager.portal.cloud.registry.tokens[-1]
    assert {token.access, token.refresh, manager.ticket} <= set(MADE)
    assert manager.portal.bindings_of(manager.application.client_id).application_token in MADE
