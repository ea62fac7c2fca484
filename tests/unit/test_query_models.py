"""Query strings: every text in them is one that a database can be asked for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import ValidationError

import bx24app.web
from bx24app.web import report_query
from bx24app.web.api import do_not_call, lines, rules, settings, webhooks
from bx24app.web.api.listing import callback_list
from bx24app.web.frame import fragments

MODULES = (callback_list, do_not_call, lines, report_query, rules, settings, webhooks, fragments)
QUERIES = [
    kind
    for module in MODULES
    for name, kind in vars(module).items()
    if name.endswith("Query") and kind.__module__ == module.__name__
]


def values(model: type[BaseModel], text: str) -> Iterator[tuple[str, Any]]:
    """What the model makes of a text in each of its fields, where it takes it."""
    for name in model.model_fields:
        try:
            read = model.__pydantic_validator__.validate_assignment(model.model_construct(), name, text)
        except ValidationError:
            continue
        yield name, getattr(read, name)


def test_every_module_that_reads_a_query_is_looked_at() -> None:
    readers = {
        path.stem
        for path in Path(bx24app.web.__file__).parent.rglob("*.py")
        if "read_query(" in path.read_text() and path.name != "guards.py"
    }
    assert readers == {module.__name__.rpartition(".")[2] for module in MODULES}
    # The list and its file take the same filters.
    assert len(QUERIES) == len(MODULES) + 1


@pytest.mark.parametrize("model", QUERIES, ids=lambda model: model.__name__)
@pytest.mark.parametrize("odd", ["\x00", "a\x00", "\x1b", "\ud800"])
def test_no_field_keeps_a_character_that_no_text_has(model: type[BaseModel], odd: str) -> None:
    for name, value in values(model, odd):
        assert not (isinstance(value, str) and odd[-1] in value), name
