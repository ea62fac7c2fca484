"""The scripts of our pages: importing one does nothing, and visitors load nothing of the desk."""

import gzip
import re
from pathlib import Path

import pytest
from flask import Flask, url_for
from playwright.sync_api import Page

from bx24app.web.static import DIRECTORY
from tests.support import ROOT

ENTRIES = sorted(path.stem for path in (DIRECTORY / "pages").glob("*.js"))
# The widget is no module: the server calls it.
MODULES = sorted(
    name
    for name in (path.relative_to(DIRECTORY).as_posix() for path in DIRECTORY.rglob("*.js"))
    if not name.startswith("pages/") and name != "widget.js"
)
IMPORT = re.compile(r'(?:from|import) "(\.[^"]+)"')
PRELOADED = re.compile(r'page_script\("(\w+)", \[([^]]*)\]\)')
VISITORS_LIMIT = 25 * 1024

# Counts whatever a module could do to a page while it is imported.
WATCH = """() => {
  window.done = [];
  const note = (owner, name) => {
    const real = owner[name];
    owner[name] = function (...given) { window.done.push(name); return Reflect.apply(real, this, given); };
  };
  for (const name of ["fetch", "setTimeout", "setInterval", "postMessage", "requestAnimationFrame"]) note(window, name);
  note(EventTarget.prototype, "addEventListener");
  note(ResizeObserver.prototype, "observe");
  for (const name of ["querySelector", "querySelectorAll", "getElementById"]) note(Document.prototype, name);
  new MutationObserver((seen) => window.done.push(...seen.map(({ type }) => type)))
    .observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
}"""
IMPORTED = """async (url) => {
  await import(url).catch((error) => window.done.push(String(error)));
  await new Promise((resolve) => { queueMicrotask(resolve); });
  return window.done;
}"""


def imports(name: str) -> set[str]:
    """Every module that a module needs before it runs, itself left out."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        path = DIRECTORY / waiting.pop()
        near = {(path.parent / other).resolve() for other in IMPORT.findall(path.read_text())}
        new = {other.relative_to(DIRECTORY.resolve()).as_posix() for other in near} - found
        found |= new
        waiting += new
    return found


@pytest.fixture
def watched(page: Page, app: Flask, environ: dict[str, str]) -> Page:
    """A page of ours without any script, which counts what happens to it."""
    page.goto(f"{environ['BX24APP_PUBLIC_URL']}/legal/privacy")
    page.evaluate(WATCH)
    return page


def imported(page: Page, app: Flask, name: str) -> list[str]:
    with app.test_request_context():
        address = url_for("static", filename=name)
    done: list[str] = page.evaluate(IMPORTED, address)
    return done


@pytest.mark.browser
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("page", ["desktop"], indirect=True)
def test_importing_a_module_does_nothing(watched: Page, app: Flask) -> None:
    asked: list[str] = []
    watched.on("request", lambda request: asked.append(request.url))
    for name in MODULES:
        assert imported(watched, app, name) == [], name
    assert asked
    assert all("/static/" in url for url in asked)


@pytest.mark.browser
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("page", ["desktop"], indirect=True)
@pytest.mark.parametrize("entry", ENTRIES)
def test_what_a_page_begins_is_noticed(watched: Page, app: Flask, entry: str) -> None:
    assert imported(watched, app, f"pages/{entry}.js")


def test_pages_name_beforehand_what_their_scripts_import() -> None:
    calls = [
        (template, *found)
        for template in sorted((ROOT / "templates").rglob("*.html"))
        for found in PRELOADED.findall(template.read_text())
    ]
    assert sorted(entry for _, entry, _ in calls) == ENTRIES
    by_template: dict[Path, tuple[set[str], set[str]]] = {}
    for template, entry, listed in calls:
        named, needed = by_template.setdefault(template, (set(), set()))
        named |= set(re.findall(r'"([^"]+)"', listed))
        needed |= imports(f"pages/{entry}.js")
    for template, (named, needed) in by_template.items():
        assert named == needed, template


@pytest.mark.parametrize("entry", ["request", "status"])
def test_visitors_load_nothing_of_the_desk_and_little_of_the_rest(entry: str) -> None:
    needed = imports(f"pages/{entry}.js")
    assert {name for name in needed if not name.startswith("visitors/")} == {"ui.js"}
    files = [f"pages/{entry}.js", *needed, "visitors/style.css"]
    weight = sum(len(gzip.compress((DIRECTORY / name).read_bytes())) for name in files)
    # The page itself and the form's colours come on top.
    assert weight < VISITORS_LIMIT / 2
