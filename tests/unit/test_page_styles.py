"""The styles of our pages: what a colour is stands once, among the tokens at the head of each sheet."""

import re
from collections import Counter

import pytest

from bx24app.web.static import DIRECTORY

STYLES = sorted(DIRECTORY.rglob("*.css"))
TOKENS = re.compile(r"^:root \{.*?^\}", re.MULTILINE | re.DOTALL)
COLOUR = re.compile(r"#[0-9a-fA-F]{3,8}\b|\b(?:rgba?|hsla?)\([^)]*\)")
# The pairs of text and ground in the desk, with the contrast that people were promised.
PAIRS = {
    ("--white", "--fill"): 5.0,
    ("--white", "--fill-hover"): 5.8,
    ("--white", "--fill-active"): 6.8,
    ("--text", "--card"): 12.6,
    ("--text-2", "--card"): 6.8,
    ("--text-2", "--page"): 6.0,
    ("--link", "--card"): 6.8,
    ("--link", "--soft-blue"): 6.0,
    ("--green", "--soft-green"): 6.0,
    ("--orange", "--soft-orange"): 6.9,
    ("--red", "--soft-red"): 6.1,
    ("--violet", "--soft-violet"): 8.1,
    ("--text-2", "--divider"): 5.8,
    ("--white", "--red"): 7.1,
    ("--control", "--card"): 3.5,
    ("--primary", "--card"): 4.2,
}


def test_there_is_a_sheet_for_the_desk_and_one_for_visitors() -> None:
    assert [path.relative_to(DIRECTORY).as_posix() for path in STYLES] == ["style.css", "visitors/style.css"]


@pytest.mark.parametrize("path", STYLES, ids=lambda path: path.parent.name)
def test_colours_stand_in_the_tokens_and_each_once(path: object) -> None:
    text = DIRECTORY.joinpath(str(path)).read_text()
    tokens = TOKENS.search(text)
    assert tokens is not None
    found = Counter(colour.lower() for colour in COLOUR.findall(tokens[0]))
    assert found
    assert [colour for colour, times in found.items() if times > 1] == []
    assert COLOUR.findall(text.replace(tokens[0], "")) == []


@pytest.mark.parametrize("path", STYLES, ids=lambda path: path.parent.name)
def test_every_token_is_defined_and_used(path: object) -> None:
    text = DIRECTORY.joinpath(str(path)).read_text()
    assert set(re.findall(r"(?<![\w-])(--[\w-]+):", text)) == set(re.findall(r"var\((--[\w-]+)\)", text))


def luminance(colour: str) -> float:
    digits = colour.removeprefix("#")
    digits = "".join(digit * 2 for digit in digits) if len(digits) == 3 else digits
    linear = []
    for place in (0, 2, 4):
        part = int(digits[place : place + 2], 16) / 255
        linear.append(part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4)
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_what_is_read_stands_out_from_its_ground() -> None:
    text = (DIRECTORY / "style.css").read_text()
    tokens = dict(re.findall(r"(--[\w-]+): (#[0-9a-f]+);", text)) | {"--card": "#fff"}
    for (one, other), least in PAIRS.items():
        bright, dark = sorted((luminance(tokens[one]), luminance(tokens[other])), reverse=True)
        assert round((bright + 0.05) / (dark + 0.05), 1) >= least, (one, other)
