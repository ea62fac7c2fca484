"""Rows that meet one world: all are tried, and each that fails is told."""

import pytest

from tests.support.tables import rows_in_one_world

TRIED: list[tuple[str, int]] = []


@rows_in_one_world("letter", ["a", "b"])
@rows_in_one_world(("number", "fails"), [(1, True), (2, False), (3, True)])
def one_of_many(tmp_path: object, letter: str, number: int, fails: bool) -> None:
    TRIED.append((letter, number))
    assert not fails


def test_every_row_is_tried_and_each_that_fails_is_told() -> None:
    TRIED.clear()
    with pytest.raises(ExceptionGroup) as caught:
        one_of_many(tmp_path=None)
    assert [(letter, number) for letter in "ab" for number in (1, 2, 3)] == TRIED
    outer = caught.value.exceptions
    assert [error.__notes__ for error in outer] == [["row: {'letter': 'a'}"], ["row: {'letter': 'b'}"]]
    inner = [error for group in outer if isinstance(group, ExceptionGroup) for error in group.exceptions]
    assert [error.__notes__[0][:17] for error in inner] == ["row: {'number': 1", "row: {'number': 3"] * 2
    assert all(isinstance(error, AssertionError) for error in inner)
