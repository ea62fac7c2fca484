"""Which countries a form calls: its own with the territories, and none at all while nobody has named it."""

import phonenumbers
import pytest
from flask import Flask
from phonenumbers import PhoneNumberFormat, PhoneNumberType
from sqlalchemy import select

from bx24app.database import reading
from bx24app.models import Callback, Rejection
from bx24app.services import diagnostics
from bx24app.services.calling.countries import TERRITORIES, with_territories
from bx24app.services.diagnostics import Level
from tests.support.actors import Actor, json_of
from tests.support.visitors import Visitor
from tests.support.websites import BackEnd, MakeVisitor

# Those that were taken and dialled on a portal without a country, and others.
ANYWHERE = ("CU", "SO", "LV", "TN", "MV", "JM", "DO", "SL", "US", "DE", "JP", "TO", "HT")


def mobile_of(region: str) -> str:
    """A mobile number that Google gives as an example of a country, or a fixed one where there is none."""
    for kind in (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE):
        number = phonenumbers.example_number_for_type(region, kind)
        if number is not None:
            return phonenumbers.format_number(number, PhoneNumberFormat.E164)
    raise LookupError(region)


def fixed_of(region: str) -> str:
    number = phonenumbers.example_number_for_type(region, PhoneNumberType.FIXED_LINE)
    assert number is not None
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


@pytest.fixture
def without_country(desk: Actor, visitor_of: MakeVisitor) -> Visitor:
    """A visitor of a form that was made before its country had to be known."""
    visitor = visitor_of()
    changed = desk.asks("PATCH", f"/forms/{visitor.form_key}", {"default_country": None})
    assert json_of(changed)["default_country"] is None
    return visitor


@pytest.mark.parametrize("more", [{}, {"default_country": None}, {"allowed_prefixes": ["+1"]}])
def test_making_a_form_asks_for_the_country(desk: Actor, more: dict[str, object]) -> None:
    refused = desk.asks("POST", "/forms", {"name": "Main", **more})
    assert (refused.status_code, json_of(refused)["code"]) == (400, "invalid_request")
    [error] = json_of(refused)["errors"]
    assert error["field"] == "default_country"
    assert "country" in error["message"]
    assert json_of(desk.asks("GET", "/forms"))["forms"] == []
    assert desk.asks("POST", "/forms", {"name": "Main", **more, "default_country": "US"}).status_code == 201
    assert desk.asks("POST", "/forms", {"name": "Main", **more, "allowed_countries": ["US"]}).status_code == 201
    desk.asks("PATCH", "/settings", {"default_country": "US"})
    assert desk.asks("POST", "/forms", {"name": "Main", **more}).status_code == 201


def test_a_form_without_a_country_takes_nothing(app: Flask, without_country: Visitor) -> None:
    for region in ANYWHERE:
        for number in (mobile_of(region), mobile_of(region).lstrip("+")):
            refused = without_country.asks(number)
            assert (refused.status_code, json_of(refused)["code"]) == (403, "not_permitted"), number
    with app.app_context(), reading() as session:
        assert set(session.scalars(select(Rejection.rule))) == {"country_known"}
        assert session.scalars(select(Callback)).all() == []


def test_its_back_end_is_refused_likewise(desk: Actor, without_country: Visitor) -> None:
    body = {"form_key": without_country.form_key, "name": "Shop"}
    back_end = BackEnd(without_country.client, json_of(desk.asks("POST", "/api-keys", body)))
    for region in ANYWHERE:
        refused = back_end.requests_callback(mobile_of(region))
        assert (refused.status_code, json_of(refused)["code"]) == (403, "not_permitted"), region


def test_it_says_so_everywhere(app: Flask, desk: Actor, without_country: Visitor) -> None:
    key = without_country.form_key
    [listed] = json_of(desk.asks("GET", "/forms"))["forms"]
    assert (listed["problems"], listed["callable_countries"]) == (["country_known"], [])
    for number in ("+5352345678", "52345678"):
        tried = json_of(desk.asks("POST", "/rules/test", {"form_key": key, "number": number}))
        assert tried["decides"] == "country_known"
    with app.app_context():
        [finding] = [one for one in diagnostics.examine_portal(1) if one.check == "country"]
    assert (finding.level, finding.about, finding.facts) == (Level.PROBLEM, "forms", {"names": "Main site"})
    panel = desk.client.get("/desk/view/websites", headers={"Authorization": f"Bearer {desk.ticket}"}).text
    assert "does not know which countries it may call" in panel
    assert "Country of your customers" in panel
    assert "Main site” accepts no requests" in desk.opens().text
    page = without_country.client.get(f"/w/{key}", headers={"Accept": "text/html"}).text
    assert "We can't call you back now" in page
    desk.asks("PATCH", "/settings", {"default_country": "DE"})
    assert without_country.asks("030 901820").status_code == 202
    panel = desk.client.get("/desk/view/websites", headers={"Authorization": f"Bearer {desk.ticket}"}).text
    assert "May call: Germany" in panel
    assert "Country of your customers" not in panel
    assert "accepts no requests" not in desk.opens().text


def test_staff_may_dial_with_a_country_code_and_no_other_way(desk: Actor) -> None:
    assert desk.requests_callback("+371 2123 4567").status_code == 201
    refused = desk.requests_callback("030 901820")
    assert (refused.status_code, json_of(refused)["code"]) == (422, "invalid_number")


def test_a_british_form_takes_the_islands(visitor_of: MakeVisitor) -> None:
    visitor = visitor_of(default_country="GB", limits={"address_hour": 100})
    for number in ("01624 756789", "07624 123456", "01534 456789", "07797 712345", "+44 1481 256789", "020 7946 0958"):
        assert visitor.asks(number).status_code == 202, number


def test_a_form_takes_its_country_and_every_territory(desk: Actor, visitor_of: MakeVisitor) -> None:
    for entry in TERRITORIES:
        codes = with_territories(entry.country)
        visitor = visitor_of(default_country=entry.country, limits={"address_hour": 100})
        form = json_of(desk.asks("GET", f"/forms/{visitor.form_key}"))
        assert form["callable_countries"] == list(codes)
        for code in codes:
            for number in {fixed_of(code), mobile_of(code)}:
                assert visitor.asks(number).status_code == 202, (code, number)


OTHERS = (
    ("US", ["+1 416 555 0123", "+1 876 555 0123", "+1 809 555 0123", "+1 242 365 1234", "+1 721 542 5678"]),
    ("GB", ["+350 200 12345", "+500 21234", "+246 380 1234", "+1 345 222 1234", "+353 1 555 0123"]),
    ("RU", ["+7 701 234 5678", "+7 727 234 5678"]),
    ("KZ", ["+7 495 123 4567", "+7 916 123 4567"]),
    ("CA", ["+1 212 555 0146", "+1 787 234 5678"]),
    ("FR", ["+32 2 555 12 12", "+377 99 12 34 56"]),
    ("IM", ["+44 20 7946 0958"]),
    ("RE", ["+262 269 60 12 34", "+33 1 42 68 53 00"]),
    ("CW", ["+599 715 1234", "+31 20 123 4567"]),
    ("AU", ["+64 9 300 1234", "+690 3101"]),
    ("NL", ["+1 868 221 1234", "+32 2 555 12 12"]),
)
COSTLY = (
    ("GB", ["+44 70 1234 5678", "+44 909 879 0000", "+44 76 4012 3456"]),
    ("US", ["+1 900 234 5678", "+1 500 234 5678"]),
    ("FR", ["+33 899 12 34 56"]),
    ("AU", ["+61 147 101 234"]),
)


@pytest.mark.parametrize("table", [OTHERS, COSTLY], ids=["other countries of a shared code", "costly numbers inside"])
def test_what_is_not_among_them(visitor_of: MakeVisitor, table: tuple[tuple[str, list[str]], ...]) -> None:
    for country, numbers in table:
        visitor = visitor_of(default_country=country)
        for number in numbers:
            refused = visitor.asks(number)
            assert (refused.status_code, json_of(refused)["code"]) == (422, "number_not_allowed"), number


def test_chosen_countries_replace_the_territories(visitor_of: MakeVisitor) -> None:
    visitor = visitor_of(default_country="GB", allowed_countries=["GB", "IE"])
    assert visitor.asks("+353 1 555 0123").status_code == 202
    assert visitor.asks("+44 1534 456789").status_code == 422


def test_the_table_of_territories() -> None:
    assert len({entry.country for entry in TERRITORIES}) == len(TERRITORIES)
    for entry in TERRITORIES:
        assert entry.source
        assert entry.country not in entry.codes
        assert {entry.country, *entry.codes} <= phonenumbers.SUPPORTED_REGIONS
    assert with_territories("DE") == ("DE",)
