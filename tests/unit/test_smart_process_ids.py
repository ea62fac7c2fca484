"""Ids of smart processes, as a portal's server may write them."""

import pytest

from bx24app.bitrix24.company.smart_processes import _MAX_TYPE_ID, _type_id


@pytest.mark.parametrize(
    ("written", "id"),
    [
        (128, 128),
        ("128", 128),
        (str(_MAX_TYPE_ID), _MAX_TYPE_ID),
        (str(_MAX_TYPE_ID + 1), 0),
        ("0000000001" + "9" * 5000, 0),
        ("0000000001" + "9" * 50, 0),
        ("", 0),
        ("-1", 0),
        ("١٢", 0),
        (None, 0),
        ([], 0),
    ],
    ids=lambda value: str(value)[:20],
)
def test_an_id_is_a_small_number_or_none(written: object, id: int) -> None:
    assert _type_id(written) == id
