"""Numbers of every shape that people, forms and CRMs write."""

import pytest

from bx24app.errors import InvalidNumber, NumberNotAllowed
from bx24app.messages.numbers import display_number
from bx24app.services.calling.phone_numbers import digits, guess_country, normalize


@pytest.mark.parametrize(
    ("typed", "country", "e164"),
    [
        ("+49 30 901820", None, "+4930901820"),
        ("+49 (0)30 901820", None, "+4930901820"),
        ("030 901820", "DE", "+4930901820"),
        ("0049 30 901820", "DE", "+4930901820"),
        ("8 (495) 123-45-67", "RU", "+74951234567"),
        ("+7 495 123-45-67", "US", "+74951234567"),
        ("+１ ２１２ ５５５ ０１４６", None, "+12125550146"),
        ("tel:+1-212-555-0146", None, "+12125550146"),
        ("+1 212 555 0146", "DE", "+12125550146"),
    ],
)
def test_numbers_that_can_be_dialled(typed: str, country: str | None, e164: str) -> None:
    assert normalize(typed, country) == e164


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        "+",
        "12",
        "call me",
        "+4930901820 ext. 5",
        "+1 212 555 0146 x12",
        "+" + "1" * 30,
        "1" * 10_000,
        "\u260e\ufe0f +49 30",
        "+999 123456789",
        "<script>alert(1)</script>",
        "' OR 1=1 --",
        "+49\x0030901820",
        "030 901820",
    ],
)
def test_numbers_that_cannot_be_dialled(typed: str) -> None:
    with pytest.raises(InvalidNumber):
        normalize(typed, None)


@pytest.mark.parametrize("typed", ["+49 900 1234567", "+44 909 879 0000", "+881 612 345 678", "+7 809 123 45 67"])
def test_numbers_that_cost_the_company_money_are_never_dialled(typed: str) -> None:
    with pytest.raises((NumberNotAllowed, InvalidNumber)):
        normalize(typed, None)


def test_a_premium_number_is_named_as_such() -> None:
    with pytest.raises(NumberNotAllowed):
        normalize("+49 900 1234567", None)


@pytest.mark.parametrize(
    ("domain", "language", "country"),
    [
        ("firma.bitrix24.de", "de", "DE"),
        ("firma.bitrix24.ru", "en", "RU"),
        ("firma.bitrix24.com", "ru", "RU"),
        ("firma.bitrix24.com", "en", None),
        ("localhost:8090", "en", None),
    ],
)
def test_the_country_of_national_numbers_is_guessed(domain: str, language: str, country: str | None) -> None:
    assert guess_country(domain, language) == country


def test_a_number_is_shown_for_people() -> None:
    assert display_number("+4930901820") == "+49 30 901820"
    assert display_number("not a number") == "not a number"
    assert digits("+49 (30) 90-18") == "49309018"
