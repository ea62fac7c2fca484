"""Whoever deletes a row has the database look for those that refer to it: an index has to lead there."""

from collections.abc import Iterator

from sqlalchemy import ForeignKeyConstraint, Table, UniqueConstraint

from bx24app.database import Base


def leading(table: Table) -> Iterator[list[str]]:
    """The columns of each index that knows every row, or every row that refers to something."""
    yield [column.name for column in table.primary_key]
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            yield [column.name for column in constraint.columns]
    for index in table.indexes:
        columns = [getattr(one, "name", "") for one in index.expressions]
        where = index.dialect_options["sqlite"].get("where")
        if where is None or str(where) == f"{columns[0]} IS NOT NULL":
            yield columns


def without_index(table: Table) -> Iterator[ForeignKeyConstraint]:
    for key in table.foreign_key_constraints:
        names = [column.name for column in key.columns]
        if not any(columns[: len(names)] == names for columns in leading(table)):
            yield key


def test_an_index_leads_to_whatever_refers_to_a_row() -> None:
    missing = [
        f"{table.name}: {key.column_keys}" for table in Base.metadata.sorted_tables for key in without_index(table)
    ]
    assert missing == []
