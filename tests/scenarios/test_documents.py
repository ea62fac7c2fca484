"""Documents: whatever names one names a file of the repository, links lead somewhere, and docs/api.md is complete."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from bx24app.settings import VARIABLE_PREFIX, Settings
from tests.support import ROOT

FOLDERS = ("bx24app", "tests", "templates", "migrations", "benchmarks", "docs")
KINDS = frozenset({".py", ".html", ".js", ".css", ".md", ".mako"})
# A name or a path that ends in the suffix of Markdown.
NAMED = re.compile(r"(?<![\w./-])[\w./-]*\w\.md\b")
# `docs: a.md, b.md` names pages of the platform's documentation, which is another repository.
PLATFORM = re.compile(r"\b[Dd]ocs:\s+`?[\w./-]+`?(?:,\s+`?[\w./-]+\.md\b`?)*")
LINK = re.compile(r"\[[^\]]*\]\((?P<file>[^)#\s]*)(?:#(?P<heading>[^)\s]+))?\)")
# A file, or the end of its path, as documents name it.
NAMED_FILE = re.compile(r"`((?:\w+/)*\w+\.(?:py|js|html|json))`")
# A test by its name alone; modules have their suffix.
NAMED_TEST = re.compile(r"`(test_[a-z0-9_]+)`")
BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
# What belongs to the app's own pages is not promised.
UNPROMISED = ("/desk/", "/static/")
# Apart, so that the names made up here are not taken for documents.
SUFFIX = ".md"


def texts() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from (path for path in sorted((ROOT / folder).rglob("*")) if path.suffix in KINDS)
    yield from (*sorted(ROOT.glob("*.md")), ROOT / "Makefile", ROOT / "pyproject.toml")


def missing_documents(text: str, place: Path) -> list[str]:
    """Names of documents that exist neither from the root, nor in ``docs``, nor beside the file."""
    named = NAMED.findall(PLATFORM.sub("", text))
    return [name for name in named if not any((base / name).exists() for base in (ROOT, ROOT / "docs", place.parent))]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(text: str, place: Path) -> list[str]:
    """Relative links that lead to no file, or to no heading of it."""
    broken = []
    for link in LINK.finditer(BLOCK.sub("", text)):
        target = place.parent / link["file"] if link["file"] else place
        if re.match(r"[a-z]+:", link["file"]):
            continue
        if not target.exists() or (link["heading"] and link["heading"] not in anchors(target)):
            broken.append(link[0])
    return broken


def problems(find: Callable[[str, Path], list[str]], files: Iterable[Path]) -> dict[str, list[str]]:
    found = {str(path.relative_to(ROOT)): find(path.read_text(encoding="utf-8"), path) for path in files}
    return {name: wrong for name, wrong in found.items() if wrong}


def test_every_document_that_a_file_names_exists() -> None:
    assert problems(missing_documents, texts()) == {}


def test_every_relative_link_leads_somewhere() -> None:
    assert problems(broken_links, (path for path in texts() if path.suffix == ".md")) == {}


def test_every_test_that_a_document_names_exists() -> None:
    written = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    tests = set(re.findall(r"^ *def (test_\w+)\(", written, re.MULTILINE))
    named = {path.name: NAMED_TEST.findall(path.read_text(encoding="utf-8")) for path in (ROOT / "docs").glob("*.md")}
    assert len(named["testing.md"]) > 50
    assert {page: missing for page, found in named.items() if (missing := set(found) - tests)} == {}


def architecture() -> str:
    return (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_architecture_has_every_package_and_no_other() -> None:
    packages = {path.parent.relative_to(ROOT / "bx24app").as_posix() for path in ROOT.glob("bx24app/*/**/__init__.py")}
    table = architecture().split("## The packages")[1].split("## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`([a-z0-9_/]+)`", row)} == packages


@pytest.mark.parametrize("name", ["architecture", "development"])
def test_every_file_that_the_guides_name_exists(name: str) -> None:
    files = [f"/{path.relative_to(ROOT).as_posix()}" for folder in (*FOLDERS, "manifest") for path in files_of(folder)]
    named = NAMED_FILE.findall((ROOT / "docs" / f"{name}{SUFFIX}").read_text(encoding="utf-8"))
    assert len(named) > 10
    assert [file for file in named if not any(known.endswith(f"/{file}") for known in files)] == []


def files_of(folder: str) -> Iterator[Path]:
    return (path for path in (ROOT / folder).rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("# Why, says docs/nowhere{}.", ["docs/nowhere"]),
        ("# nowhere{}, section 4", ["nowhere"]),
        ("docs: a/page{0} and docs/nowhere{0}", ["docs/nowhere"]),
        ("docs: page{0}; nowhere{0}", ["nowhere"]),
        ("(docs: a/page{0}, b/nowhere{0})", []),
        ("see docs/calls{0}, calls{0} and SECURITY{0}", []),
    ],
)
def test_a_name_of_a_missing_document_is_found(text: str, missing: list[str]) -> None:
    found = missing_documents(text.format(SUFFIX), ROOT / "bx24app" / "cli.py")
    assert found == [name + SUFFIX for name in missing]


def test_a_link_that_leads_nowhere_is_found() -> None:
    good = [f"[a](calls{SUFFIX})", f"[b](calls{SUFFIX}#how-fast)", "[c](https://x.example/no)"]
    bad = [f"[d](no{SUFFIX})", f"[e](calls{SUFFIX}#no)"]
    assert broken_links(" ".join(good + bad), ROOT / "docs" / "api.md") == bad


def api_page() -> str:
    return (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


def existing_routes(app: Flask) -> set[tuple[str, str]]:
    return {
        (method, re.sub(r"<[^>]+>", "*", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD"}
        if not rule.rule.startswith(UNPROMISED) and (method != "OPTIONS" or rule.methods == {"OPTIONS"})
    }


def test_every_route_is_documented_and_no_other(app: Flask) -> None:
    rows = [line for line in api_page().splitlines() if re.match(r"\| `[A-Z]+ /", line)]
    first_cells = " ".join(row.split(" | ")[0] for row in rows)
    told = re.findall(r"`(GET|POST|PUT|PATCH|DELETE|OPTIONS) (/[^`]*)`", first_cells)
    assert {(method, re.sub(r"<[^>]+>", "*", path)) for method, path in told} == existing_routes(app)


def test_every_code_of_a_refusal_is_documented_with_its_status(app: Flask) -> None:
    described = app.test_client().get("/api/v1/openapi.json").get_json()
    refusals = {
        (status, code)
        for methods in described["paths"].values()
        for operation in methods.values()
        for status, response in operation["responses"].items()
        for problem in response.get("content", {}).values()
        for part in problem.get("schema", {}).get("allOf", [])
        for code in part.get("properties", {}).get("code", {}).get("enum", [])
    }
    told = {
        (row[1], code)
        for row in re.finditer(r"^\| (\d{3}) \| ([^|]+) \|", api_page(), re.MULTILINE)
        for code in re.findall(r"`(\w+)`", row[2])
    }
    assert len(refusals) > 20
    assert refusals <= told


def test_every_setting_and_command_is_documented(app: Flask) -> None:
    operating = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    for page in (api_page(), operating):
        assert VARIABLE_PREFIX in page
        assert not [name for name in Settings.model_fields if f"`{name.upper()}`" not in page]
    # Flask's own are not among them.
    assert not [name for name in app.cli.commands if f"flask --app app {name}" not in api_page()]
