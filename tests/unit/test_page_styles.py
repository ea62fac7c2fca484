"""The styles of our pages: what a colour is stands once, among the design tokens."""

import re
from collections import Counter

from bx24app.web.static import DIRECTORY

STYLES = sorted(DIRECTORY.rglob("*.css"))
COLOUR = re.compile(r"#[0-9a-fA-F]{3,8}\b|\b(?:rgba?|hsla?)\([^)]*\)")


def test_colours_stand_in_the_tokens_and_each_once() -> None:
    for path in STYLES:
        found = Counter(colour.lower() for colour in COLOUR.findall(path.read_text()))
        if path.name == "tokens.css":
            assert found
            assert [colour for colour, times in found.items() if times > 1] == []
        else:
            assert not found, path


def test_every_token_is_defined_and_used() -> None:
    text = "".join(path.read_text() for path in STYLES)
    defined = set(re.findall(r"(?<![\w-])(--[\w-]+):", text))
    assert defined == set(re.findall(r"var\((--[\w-]+)\)", text))
