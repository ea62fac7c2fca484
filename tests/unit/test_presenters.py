"""Presenters and sentences are pure: of the use cases they know the types and constants, never a function."""

import ast
import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tests.support import ROOT

PURE = [*(ROOT / "bx24app/web/presenters").rglob("*.py"), *(ROOT / "bx24app/messages").glob("*.py")]


def imported(path: Path, package: str) -> Iterator[tuple[str, object]]:
    """Every name of ``package`` that a module imports, with what it is."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, import_module(alias.name)) for alias in node.names if package in alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module and f"{node.module}.".startswith(f"{package}."):
            module = import_module(node.module)
            for alias in node.names:
                found = getattr(module, alias.name, None)
                yield alias.name, import_module(f"{node.module}.{alias.name}") if found is None else found


@pytest.mark.parametrize("path", PURE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_function_of_a_use_case_is_imported(path: Path) -> None:
    for name, found in imported(path, "bx24app.services"):
        assert inspect.isclass(found) or not (inspect.ismodule(found) or callable(found)), name


@pytest.mark.parametrize("path", PURE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_database_is_imported(path: Path) -> None:
    for package in ("bx24app.database", "sqlalchemy", "requests"):
        assert not list(imported(path, package)), package


def test_the_files_are_found() -> None:
    assert len(PURE) > 9
