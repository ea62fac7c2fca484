"""The demo's cards and pages show what docs/demo.md says."""

import html

import pytest
from flask import Flask

from tests.demo import people
from tests.fake_bitrix24 import FakePortal
from tests.fake_bitrix24.faults import CONDITIONS
from tests.support import ROOT
from tests.support.actors import Actor
from tests.website import PAGES, Website

# What the tab of a card says, as text.
SAYS = {
    "Words after the number": ("+49 30 901820", "+49 171 1234567", "+81 90-1234-5678"),
    "Extensions": ("+7 812 999-00-00", "4048", "+7 495 123-45-67", "104"),
    "Signs nobody sees": ("+49 30 901820", "+49 30 901821", "+49 30 901822"),
    "A wrong plus": ("+49 30 901820", "+49 30 901821", "+84 951 234 567: This is a number of Vietnam."),
    "Two numbers in one field": ("+49 30 901823",),
    "Another country": ("+53 5 2345678", "+52 55 1234 5678"),
    "Orders again: only a contact": ("+49 30 901841", "Rosa Lind", "“none yet”: There is no telephone number in it."),
    "Orders again: only a company": ("+49 30 901840", "Berliner Backwaren GmbH"),
}


def text_of(page: str) -> str:
    return html.unescape(page).replace("\u00a0", " ")


def test_every_card_of_the_demo_opens_and_is_named_in_its_guide(
    app: Flask, manager: Actor, administrator: Actor, portal: FakePortal
) -> None:
    people.settle(portal)
    administrator.opens()
    assert administrator.asks("PATCH", "/settings", {"default_country": "DE"}).status_code == 200
    guide = (ROOT / "docs" / "demo.md").read_text()
    titles = {lead["TITLE"]: id for id, lead in portal.crm.entities["LEAD"].items()}
    assert titles.keys() >= SAYS.keys()
    wrong = []
    for title, id in titles.items():
        page = manager.opens("CRM_LEAD_DETAIL_TAB", ID=str(id))
        assert page.status_code == 200, title
        missing = [words for words in SAYS.get(title, ()) if words not in text_of(page.text)]
        if missing:
            wrong.append((title, missing, text_of(page.text)[:1500]))
    assert wrong == []
    assert all(title in guide for title in people.LEADS)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_portal_of_each_condition_says_so(app: Flask, manager: Actor, portal: FakePortal, condition: str) -> None:
    page = portal.server.app.test_client()
    answer = page.post("/demo/condition", base_url=portal.url, data={"condition": condition, "back": "/"})
    assert (answer.status_code, portal.faults.condition) == (302, condition)
    assert page.post("/demo/condition", base_url=portal.url, data={"condition": "on fire"}).status_code == 400
    lead = portal.crm.add_lead("Asks", phones=["+49 30 901820"])
    opened = manager.opens("CRM_LEAD_DETAIL_TAB", ID=str(lead))
    words = {
        "open": "+49 30 901820",
        "closed for maintenance": "The customer's numbers could not be read.",
        "on a plan that has ended": "The paid period of the app or of Bitrix24 is over",
    }
    assert words[condition] in text_of(opened.text)
    portal.faults.condition = "open"
    assert "New callback" in manager.opens().text


def test_the_pages_of_the_website() -> None:
    with Website("localhost") as site:
        client = site.server.app.test_client()
        for snippet in ("", '<script src="https://desk.example/w/0123456789abcdef/widget.js" async></script>'):
            site.snippet = snippet
            for path in PAGES:
                answer = client.get(path)
                page = answer.get_data().decode(answer.mimetype_params["charset"])
                assert (answer.status_code, f'charset="{answer.mimetype_params["charset"]}"' in page) == (200, True), (
                    path
                )
                assert ("https://desk.example/w/0123456789abcdef" in page) == bool(snippet), path
            assert "Телефон" in client.get("/windows-1251").get_data().decode("cp1251") or not snippet
        assert client.get("/replaced.js").mimetype == "text/javascript"
