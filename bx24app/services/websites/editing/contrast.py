"""Which text is read best on a colour, and how well (WCAG 2.2)."""

from dataclasses import dataclass

DARK, LIGHT = "#1f2933", "#ffffff"


@dataclass(frozen=True)
class TextOn:
    """The colour of a text, and its contrast with the ground: 3 is enough for large text, 4.5 for any."""

    colour: str
    contrast: float


def readable_on(ground: str) -> TextOn:
    """White or dark, whichever is easier to read on ``#rrggbb``: the contrast is 3.8 at least."""
    return max((TextOn(text, _contrast(text, ground)) for text in (LIGHT, DARK)), key=lambda text: text.contrast)


def _contrast(one: str, other: str) -> float:
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb``."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)  # noqa: PLR2004  The numbers of the definition.
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
