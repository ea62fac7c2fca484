"""Of a field with several numbers the first that can be called."""

import pytest

from bx24app.services.native.automation.properties import first_number

RIGHT = "+49 30 901820"
TWO = f"{RIGHT}, +49 30 901821"


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (RIGHT, RIGHT),
        (TWO, RIGHT),
        (f"+7 800, {TWO}", f" {RIGHT}"),
        ("+7 800, " * 4 + TWO, f" {RIGHT}"),
        ("+7 800, " * 5 + TWO, "+7 800, " * 5 + TWO),
    ],
    ids=["one", "two", "the second of three", "the fifth of six", "the sixth of seven"],
)
def test_of_the_first_few_numbers_the_one_that_can_be_called_counts(text: str, first: str) -> None:
    assert first_number(text, "DE") == first
