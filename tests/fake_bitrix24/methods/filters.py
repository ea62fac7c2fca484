"""Filters of lists, and how long a page of one is."""

import re
from typing import Any

PAGE = 50


def matches(row: dict[str, object], key: str, wanted: Any) -> bool:
    """Tell whether a row meets one condition of a filter, such as ``>ID`` (docs: settings/how-to-call-rest-api)."""
    operator, name = re.match(r"^([<>=!]*)(\w+)$", key).groups()  # type: ignore[union-attr]
    value = row.get(name)
    left, right = str(value), str(wanted)
    if operator in (">", "<", ">=", "<=") and left.isdigit() and right.isdigit():
        comparison = int(left) - int(right)
        return {">": comparison > 0, "<": comparison < 0, ">=": comparison >= 0, "<=": comparison <= 0}[operator]
    return (left == right) != operator.startswith("!")
