"""What a ring says, and how several are written as one message."""

import re
from collections.abc import Callable, Collection, Iterator
from uuid import UUID

RowId = UUID | int
# The name of a job, or of what has happened, and the row; None: perhaps several.
Ring = tuple[str, RowId | None]
Listener = Callable[[str, RowId | None], None]
# Whoever has not listened for a while is told that anything may have happened.
ANYTHING = "anything"
# A message is at most 4,096 bytes long, which a pipe takes whole or not at all; PostgreSQL takes 8,000.
MAX_ROWS_RUNG = 50
_LINE = re.compile(r"([a-z_]{1,30}) (-|\d{1,18}|[0-9a-f-]{36})")


def write_message(rings: Collection[Ring]) -> str:
    """Write rings as lines, each once; of too many only the names."""
    lines = {f"{name} {'-' if row_id is None else row_id}\n" for name, row_id in rings}
    if len(lines) > MAX_ROWS_RUNG:
        lines = {f"{name} -\n" for name, _ in rings}
    return "".join(sorted(lines))


def read_message(text: str) -> Iterator[Ring]:
    """Read the rings of a message, without lines that are none."""
    for line in text.splitlines():
        if found := _LINE.fullmatch(line):
            yield found[1], _row_id(found[2])


def _row_id(text: str) -> RowId | None:
    if text.isdecimal():
        return int(text)
    try:
        return UUID(text)
    except ValueError:
        return None
