"""CSV files that the spreadsheets of the reader's language open, and that contain no formula."""

import csv
import io
from collections.abc import Iterable, Sequence

from babel.numbers import get_decimal_symbol
from flask_babel import get_locale

from bx24app.services.calling.list_file import safe_cell
from bx24app.services.calling.spoken_text import one_line

CSV_TYPE = "text/csv; charset=utf-8"
# Excel reads a file as UTF-8 only when it begins with this mark.
BYTE_ORDER_MARK = "\ufeff"
Line = dict[str, object]


def csv_text(names: Sequence[str], lines: Iterable[Line]) -> str:
    """Write a heading and lines, with semicolons for a language that writes decimals with a comma."""
    comma = has_decimal_comma()
    written = [csv_line([_cell(line.get(name), comma=comma) for name in names]) for line in lines]
    return BYTE_ORDER_MARK + csv_line(names) + "".join(written)


def csv_line(cells: Iterable[str]) -> str:
    """Write one line, of which no cell is a formula or has lines of its own."""
    return csv_lines([[safe_text(cell) for cell in cells]])


def csv_lines(lines: Iterable[Iterable[str]]) -> str:
    """Write lines of cells, of which each text that somebody has written went through ``safe_text``."""
    out = io.StringIO()
    csv.writer(out, delimiter=";" if has_decimal_comma() else ",").writerows(lines)
    return out.getvalue()


def safe_text(text: str) -> str:
    """Make a cell of a text that is no formula, and has no lines of its own."""
    return safe_cell(one_line(text))


def _cell(value: object, *, comma: bool) -> str:
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0").rstrip(".").replace(".", "," if comma else ".")
    return "" if value is None else str(value)


def has_decimal_comma() -> bool:
    """Tell whether the reader's language writes decimals with a comma."""
    return get_decimal_symbol(get_locale() or "en") == ","
