"""The styles of our pages: what a colour is stands once, among the tokens at the head of each sheet."""

import itertools
import math
import re
from collections import Counter
from collections.abc import Sequence

import pytest

from bx24app.web.static import DIRECTORY

STYLES = sorted(DIRECTORY.rglob("*.css"))
TOKENS = re.compile(r"^:root(?:, :host)? \{.*?^\}", re.MULTILINE | re.DOTALL)
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
    # A heat map's figures, and bars beside nothing.
    ("--text", "--heat-0"): 4.5,
    ("--text", "--heat-1"): 4.5,
    ("--text", "--heat-2"): 4.5,
    ("--text", "--heat-3"): 4.5,
    ("--white", "--heat-4"): 4.5,
    ("--white", "--heat-5"): 4.5,
    ("--fill", "--card"): 3.0,
    ("--chart-nobody", "--card"): 3.0,
    ("--chart-customer", "--card"): 3.0,
    ("--chart-untold", "--card"): 3.0,
    ("--chart-uncalled", "--card"): 3.0,
}
SERIES = ("--fill", "--chart-nobody", "--chart-customer", "--chart-untold", "--chart-uncalled")
# What eyes without one kind of cone see of linear red, green and blue (Machado, Oliveira and Fernandes, 2009).
EYES = {
    "all cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
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


def linear(colour: str) -> list[float]:
    """Red, green and blue of a colour as amounts of light."""
    digits = colour.removeprefix("#")
    digits = "".join(digit * 2 for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def luminance(colour: str) -> float:
    red, green, blue = linear(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def lab(light: Sequence[float]) -> tuple[float, float, float]:
    """The place of an amount of light among all colours (CIELAB), where distances are differences that people see."""
    red, green, blue = (min(1.0, max(0.0, part)) for part in light)
    white = (0.95047, 1.0, 1.08883)
    mixed = (
        0.4124 * red + 0.3576 * green + 0.1805 * blue,
        0.2126 * red + 0.7152 * green + 0.0722 * blue,
        0.0193 * red + 0.1192 * green + 0.9505 * blue,
    )
    parts = [one / whole for one, whole in zip(mixed, white, strict=True)]
    x, y, z = (part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116 for part in parts)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def tokens() -> dict[str, str]:
    text = (DIRECTORY / "style.css").read_text()
    return dict(re.findall(r"(--[\w-]+): (#[0-9a-f]+);", text)) | {"--card": "#fff"}


def test_what_is_read_stands_out_from_its_ground() -> None:
    known = tokens()
    for (one, other), least in PAIRS.items():
        bright, dark = sorted((luminance(known[one]), luminance(known[other])), reverse=True)
        assert round((bright + 0.05) / (dark + 0.05), 1) >= least, (one, other)


@pytest.mark.parametrize("eye", EYES)
def test_the_series_of_a_chart_are_told_apart(eye: str) -> None:
    known, sees = tokens(), EYES[eye]
    seen = {
        name: lab([sum(a * b for a, b in zip(row, linear(known[name]), strict=True)) for row in sees])
        for name in SERIES
    }
    for one, other in itertools.combinations(SERIES, 2):
        assert round(math.dist(seen[one], seen[other])) >= 27, (one, other)
