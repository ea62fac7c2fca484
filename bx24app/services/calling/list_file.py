"""The file of a do-not-call list: whatever program wrote it, each number is found; what we write is read back whole."""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from bx24app.services.calling.spoken_text import one_line

HEADING = ("number", "note", "added_at")
# What spreadsheets of one country or another put between cells; no telephone number contains them.
SEPARATORS = "\t;,|；，،؛"
# What begins a formula, also written wide, small, raised or lowered.
_FORMULA_SIGNS = "[-=+@−＝＋－＠﹦﹢﹣﹫⁼⁺⁻₌₊₋]"
_TO_PROTECT = re.compile(rf"(?<![\w'])('*)(?={_FORMULA_SIGNS})")
_PROTECTED = re.compile(rf"(?<![\w'])'('*)(?={_FORMULA_SIGNS})")
# Excel keeps a number as text when it is written as ="+49 30 901820".
_TEXT_FORMULA = re.compile(r'="([^"]*)"')
# Excel's name for the separator of a file, in its first line.
_SEPARATOR_LINE = re.compile(r"\"?sep=(?P<separator>[^\r\n\"])\"?(?:\r\n|[\r\n]|$)", re.IGNORECASE)
_BREAK = r"\n\r\v\f\x1c-\x1e\x85\u2028\u2029"
_LINE_END = re.compile(rf"\r\n|[{_BREAK}]")
# Far more than a number and a note need: what is longer is cut, further cells are left out.
_MAX_CELL, _MAX_CELLS = 4000, 20
# A line inside of a quoted cell that begins like a number is a line of its own: then the quote is only a ditto mark.
_QUOTED_TEXT = rf'(?:[^"{_BREAK}]|""|[{_BREAK}](?![^\w"{_BREAK}]{{0,8}}(?:\d[^\w"{_BREAK}]{{0,3}}){{6}})){{0,4000}}+'


@dataclass(frozen=True)
class ListLine:
    """A line of a file: a number as it is written, and a note; both are empty where the line has none."""

    number: str
    note: str


@dataclass(frozen=True)
class ListFile:
    """The lines of a file; ``is_ours`` tells that they are as ``write_list`` writes them."""

    lines: tuple[ListLine, ...]
    is_ours: bool


def read_list(text: str, most: int) -> ListFile:
    """Read ``most`` lines, with a number on each and perhaps a note in the next cell, whatever separates the cells."""
    text = text.lstrip("\ufeff").replace("\0", "")
    named = _SEPARATOR_LINE.match(text)
    found = _rows(text, named.end(), named["separator"]) if named else _rows(text, 0, None)
    rows = list(islice(found, most))
    lines = [ListLine(_plain(number).removeprefix("'").strip(), one_line(_plain(note))) for number, note, _ in rows]
    is_ours = bool(rows) and tuple(rows[0]) == HEADING
    return ListFile((*[ListLine("", "")] * bool(named), *lines), is_ours)


def write_list(rows: Iterable[tuple[str, str, str]]) -> str:
    """Write number, note and time of each row as CSV without formulas (``safe_cell``); each row is one line."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(HEADING)
    writer.writerows([safe_cell(one_line(cell)) for cell in row] for row in rows)
    return out.getvalue()


def safe_cell(text: str) -> str:
    """Put an apostrophe before each sign that can begin a formula in a cell that a spreadsheet makes of the text.

    Nobody knows at which characters a spreadsheet will divide the text, so every sign counts that stands at the
    beginning or after something else than a letter or digit.
    """
    return _TO_PROTECT.sub(r"'\1", text)


def _plain(cell: str) -> str:
    """Undo ``safe_cell``, and what Excel writes to keep a text."""
    kept = _TEXT_FORMULA.fullmatch(cell.strip())
    return _PROTECTED.sub(r"\1", kept[1] if kept else cell).strip()


def _rows(text: str, at: int, separator: str | None) -> Iterator[list[str]]:
    """Divide a text into rows of three cells; ``separator`` None: in each row it is the mark after its first cell."""
    while at < len(text):
        cells, found, at = _row(text, at, separator or SEPARATORS)
        if separator is None and any(mark in cells[0] for mark in SEPARATORS):
            # A spreadsheet that expects another separator kept the line as one cell.
            cells, _, _ = _row(found.join(cells), 0, SEPARATORS)
        yield [cell[:_MAX_CELL] for cell in [*cells, "", "", ""][:3]]


def _row(text: str, at: int, separators: str) -> tuple[list[str], str, int]:
    """Read the row that begins at ``at``; returns its cells, their separator, and where the next row begins."""
    cells: list[str] = []
    while True:
        cell = _cell(separators).match(text, at)
        assert cell is not None
        cells.append(cell["plain"] if cell["quoted"] is None else cell["quoted"].replace('""', '"'))
        at = cell.end()
        end = _LINE_END.search(text, at) if len(cells) == _MAX_CELLS else _LINE_END.match(text, at)
        if end or at == len(text) or len(cells) == _MAX_CELLS:
            return cells, separators[0], end.end() if end else len(text)
        separators, at = text[at], at + 1


@lru_cache(maxsize=64)
def _cell(separators: str) -> re.Pattern[str]:
    marks = re.escape(separators)
    quoted = rf'[ ]*"(?P<quoted>{_QUOTED_TEXT})"[ ]*(?=[{marks}{_BREAK}]|\Z)'
    return re.compile(rf"{quoted}|(?P<plain>[^{marks}{_BREAK}]*)")
