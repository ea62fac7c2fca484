"""What keeps the code easy to find one's way in: names that mean one thing, and no room that is too large."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.support import ROOT

MAX_LINES = 300
MAX_FUNCTION_LINES = 50
MAX_MODULES = 15
# Said in every module of its kind, and meant of that module.
OF_THEIR_MODULE = {"SECTION", "__all__", "blueprint", "log", "P", "R", "T"}
SOURCES = sorted((ROOT / "bx24app").rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def constants(path: Path) -> Iterator[tuple[str, str]]:
    """Names that a module gives values to, each with its value as it is written."""
    for node in tree_of(path).body:
        if isinstance(node, ast.AnnAssign) and node.value:
            pairs: list[tuple[ast.expr, ast.expr]] = [(node.target, node.value)]
        elif isinstance(node, ast.Assign):
            pairs = [(target, node.value) for target in node.targets]
        else:
            continue
        for target, value in pairs:
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                yield from zip(map(ast.unparse, target.elts), map(ast.unparse, value.elts), strict=True)
            else:
                yield ast.unparse(target), ast.unparse(value)


def test_a_class_name_exists_once() -> None:
    found = defaultdict(list)
    for path in SOURCES:
        for node in tree_of(path).body:
            if isinstance(node, ast.ClassDef):
                found[node.name].append(name_of(path))
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}


def test_constants_that_mean_different_things_have_different_names() -> None:
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for path in SOURCES:
        for name, value in constants(path):
            found[name][name_of(path)] = value
    double = {name: values for name, values in found.items() if len(set(values.values())) > 1}
    assert {name: values for name, values in double.items() if name not in OF_THEIR_MODULE} == {}


def test_no_file_is_too_long() -> None:
    found = {name_of(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: lines for name, lines in found.items() if lines > MAX_LINES} == {}


def test_no_package_has_too_many_modules() -> None:
    found: dict[str, int] = defaultdict(int)
    for path in SOURCES:
        found[name_of(path.parent)] += path.name != "__init__.py"
    assert {name: count for name, count in found.items() if count > MAX_MODULES} == {}


def test_no_function_is_too_long() -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = {
        f"{name_of(path)}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in SOURCES
        for node in ast.walk(tree_of(path))
        if isinstance(node, functions)
    }
    assert {name: lines for name, lines in found.items() if lines > MAX_FUNCTION_LINES} == {}
