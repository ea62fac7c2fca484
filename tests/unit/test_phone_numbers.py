"""Numbers of every shape that people, forms and CRMs write."""

import pytest

from bx24app.errors import InvalidNumber, NumberNotAllowed
from bx24app.messages.numbers import display_number
from bx24app.services.calling.costly_numbers import COSTLY_RANGES
from bx24app.services.calling.countries import guess_country
from bx24app.services.calling.phone_numbers import NumberProblem, dialled_number, digits, read_number


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
    assert dialled_number(typed, country) == e164


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        "+",
        "12",
        "call me",
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
        dialled_number(typed, None)


@pytest.mark.parametrize("typed", ["+49 900 1234567", "+44 909 879 0000", "+881 612 345 678", "+7 809 123 45 67"])
def test_numbers_that_cost_the_company_money_are_never_dialled(typed: str) -> None:
    with pytest.raises((NumberNotAllowed, InvalidNumber)):
        dialled_number(typed, None)


COSTLY = (
    "+44 70 1234 5678",
    "+44 76 4012 3456",
    "+44 7612 345678",
    "+41 878 123 456",
    "+39 178 123 4567",
    "+39 199 123 456",
    "+1 500 234 5678",
    "+1 500 123 4567",
    "+1 522 234 5678",
    "+1 900 234 5678",
    "+61 147 101 234",
    "+61 145 101 234",
    "+7 954 123 45 67",
    "+7 940 123 45 67",
    "+7 840 123 45 67",
    "+878 10 1234567890",
    "+800 1234 5678",
    "+808 1234 5678",
    "+979 1 2345 6789",
    "+870 773 111 632",
    "+881 6 1234 5678",
    "+882 16 1234 5678",
    "+883 5100 0123 4567",
    "+86 1349 123 4567",
    "+86 1740 012 3456",
    "+62 868 123 456",
    "+34 701 234 567",
    "+370 700 12345",
)


@pytest.mark.parametrize("typed", COSTLY)
def test_costly_numbers_are_named_as_such_for_staff_and_visitors(typed: str) -> None:
    with pytest.raises(NumberNotAllowed):
        dialled_number(typed, None)
    read = read_number(typed, None)
    assert read.problem is NumberProblem.COSTLY
    assert read.e164


@pytest.mark.parametrize(
    ("typed", "country"),
    [("070 1234 5678", "GB"), ("0878 123 456", "CH"), ("8 954 123-45-67", "RU"), ("0147101234", "AU")],
)
def test_they_are_known_in_their_national_form_too(typed: str, country: str) -> None:
    with pytest.raises(NumberNotAllowed):
        dialled_number(typed, country)
    assert read_number(typed, country).problem is NumberProblem.COSTLY


@pytest.mark.parametrize(
    "typed",
    [
        "+44 7624 123456",
        "+44 7911 123456",
        "+44 20 7946 0018",
        "+41 79 123 45 67",
        "+39 347 123 4567",
        "+39 06 1234 5678",
        "+1 212 555 0146",
        "+61 491 570 156",
        "+7 953 123 45 67",
        "+7 941 123 45 67",
        "+86 138 1234 5678",
        "+86 1731 123 4567",
        "+62 812 3456 789",
    ],
)
def test_the_ranges_beside_them_are_dialled(typed: str) -> None:
    assert dialled_number(typed, None) == read_number(typed, None).e164
    assert read_number(typed, None).problem is None


def test_every_costly_range_has_a_source_and_is_listed_once() -> None:
    assert all(one.prefix.isdigit() and one.kind and one.source for one in COSTLY_RANGES)
    prefixes = [one.prefix for one in COSTLY_RANGES]
    assert not [one for one in prefixes for other in prefixes if one is not other and one.startswith(other)]


def test_a_premium_number_is_named_as_such() -> None:
    with pytest.raises(NumberNotAllowed):
        dialled_number("+49 900 1234567", None)


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
    assert digits("+49 (30) 90-18") == digits("+٤٩ ٣٠ ٩٠١٨") == "49309018"
