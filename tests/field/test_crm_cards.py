"""How people write numbers on cards of the CRM, which compares spellings."""

import pytest
from flask import Flask

from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor
from tests.support.crm_steps import asks, card, visitor_of_shop, worked
from tests.support.visitors import Visitor

# The country of portal and form, the number that asks, and how it stands on the card of the customer.
CARDS = [
    ("RU", "+79001234567", "8 (900) 123-45-67"),
    ("RU", "+79001234567", "900 123 45 67"),
    ("RU", "+79001234567", "7(900)1234567"),
    ("KZ", "+77272345678", "8 727 234 56 78"),
    ("DE", "+4930901820", "030 / 90 18 20"),
    ("DE", "+4930901820", "0049 (30) 901820"),
    ("DE", "+4930901820", "+49 (0)30 901820"),
    ("US", "+12015550123", "(201) 555-0123"),
    ("BR", "+5511961234567", "11 96123-4567"),
    ("IT", "+390612345678", "06 12345678"),
    ("DE", "+43512345678", "0043 512 345678"),
]


@pytest.fixture
def visitor(app: Flask, environ: dict[str, str], manager: Actor, administrator: Actor) -> Visitor:
    return visitor_of_shop(app, administrator, environ["BX24APP_PUBLIC_URL"])


def takes(administrator: Actor, visitor: Visitor, default: str, *countries: str) -> None:
    wanted = {"default_country": default, "allowed_countries": list(countries)}
    response = administrator.asks("PATCH", f"/forms/{visitor.form_key}", wanted)
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(("country", "number", "stored"), CARDS)
def test_a_card_is_found_however_the_number_is_written_on_it(
    app: Flask, visitor: Visitor, administrator: Actor, portal: FakePortal, country: str, number: str, stored: str
) -> None:
    takes(administrator, visitor, country, country, "AT")
    assert administrator.asks("PATCH", "/settings", {"default_country": country}).status_code == 200
    contact = portal.crm.add_contact("Anna", phones=[stored])
    id, asked = asks(visitor, number), len(portal.requests_for("batch"))
    worked(app)
    assert card(app, id) == ("found", "CONTACT", contact)
    assert len(portal.requests_for("batch")) == asked + 1
    assert portal.crm.entities["LEAD"] == {}


def test_a_number_of_another_country_is_not_that_of_a_local_with_the_same_digits(
    app: Flask, visitor: Visitor, administrator: Actor, portal: FakePortal
) -> None:
    takes(administrator, visitor, "DE", "DE", "AT")
    portal.crm.add_contact("Of Berlin", phones=["0512 345678"])
    id = asks(visitor, "+43512345678")
    worked(app)
    assert card(app, id) == ("created", "LEAD", 1)
