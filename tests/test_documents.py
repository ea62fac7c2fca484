"""Documents: their links lead somewhere, and docs/api.md is complete."""

import re
from pathlib import Path

from flask import Flask

from bx24app.settings import PREFIX, Settings
from tests.database import ROOT

LINK = re.compile(r"\[[^\]]*\]\((?P<file>[^)#\s]*)(?:#(?P<heading>[^)\s]+))?\)")
BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
# What belongs to the app's own pages is not promised.
UNPROMISED = ("/desk/", "/static/")


def pages() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


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


def test_every_relative_link_leads_somewhere() -> None:
    assert [link for page in pages() for link in broken_links(page.read_text(encoding="utf-8"), page)] == []


def test_a_link_that_leads_nowhere_is_found() -> None:
    good = ["[a](calls.md)", "[b](calls.md#how-fast)", "[c](https://x.example/no)"]
    bad = ["[d](no.md)", "[e](calls.md#no)"]
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
    told = re.findall(r"`(GET|POST|PATCH|DELETE|OPTIONS) (/[^`]*)`", first_cells)
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
        assert PREFIX in page
        assert not [name for name in Settings.model_fields if f"`{name.upper()}`" not in page]
    # Flask's own are not among them.
    assert not [name for name in app.cli.commands if f"flask --app app {name}" not in api_page()]
