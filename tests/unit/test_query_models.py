"""Query strings: every text in them is one that a database can be asked for."""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import ValidationError

import bx24app.web

WEB = Path(bx24app.web.__file__).parent
# Every class that reads an address, wherever it stands.
QUERIES: list[type[BaseModel]] = [
    getattr(import_module(".".join(("bx24app.web", *path.relative_to(WEB).with_suffix("").parts))), name)
    for path in sorted(WEB.rglob("*.py"))
    for name in re.findall(r"^class (\w+Query)\(", path.read_text(), re.MULTILINE)
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
    used = {
        name
        for path in WEB.rglob("*.py")
        for name in re.findall(r"read_query\((\w+)[,)]", path.read_text())
        if path.name != "guards.py"
    }
    assert used
    assert used <= {query.__name__ for query in QUERIES}


@pytest.mark.parametrize("model", QUERIES, ids=lambda model: model.__name__)
@pytest.mark.parametrize("odd", ["\x00", "a\x00", "\x1b", "\ud800"])
def test_no_field_keeps_a_character_that_no_text_has(model: type[BaseModel], odd: str) -> None:
    for name, value in values(model, odd):
        assert not (isinstance(value, str) and odd[-1] in value), name
