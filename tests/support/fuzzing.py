"""Random input with a seed that can be repeated, and the look for garbage in what was stored."""

import os
import re
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, Phase, settings
from sqlalchemy import func, select

from bx24app.database import Base, reading

# FUZZ_SEED repeats a run.
SEED = int(os.environ.get("FUZZ_SEED") or secrets.randbelow(2**32))
# The processes of a parallel run inherit it.
os.environ["FUZZ_SEED"] = str(SEED)
# `make test` tries few examples, `make check` many too.
FEW, MANY = 100, 400
few_and_many = pytest.mark.parametrize(
    "examples", [pytest.param(FEW, id="few"), pytest.param(MANY, id="many", marks=pytest.mark.long)]
)
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd\ud800-\udfff]")
# The longest text that anybody may store is the one to pronounce.
LONGEST = 4000


def fuzz_settings(examples: int) -> settings:
    """One app and one database serve all examples: they are generated, not replayed."""
    return settings(
        max_examples=examples,
        phases=(Phase.generate,),
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for pair in value.items():
            yield from (text for part in pair for text in _texts(part))
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def counts(app: Flask) -> dict[str, int]:
    """How many rows each table has."""
    with app.app_context(), reading() as session:
        return {
            name: session.scalars(select(func.count()).select_from(table)).one()
            for name, table in Base.metadata.tables.items()
        }


def garbage(app: Flask) -> list[str]:
    """Every stored text that is too long for its column or holds what no text may hold."""
    found = []
    with app.app_context(), reading() as session:
        for name, table in Base.metadata.tables.items():
            for row in session.execute(select(table)):
                for column in table.columns:
                    limit = getattr(column.type, "length", None) or LONGEST
                    texts = list(_texts(row._mapping[column]))
                    if any(CONTROL.search(text) for text in texts) or sum(map(len, texts)) > limit:
                        found.append(f"{name}.{column.name}: {texts!r}"[:300])
    return found
