"""Telephone numbers: one reader for every door, by the rules of Google's libphonenumber.

It returns the number that was meant, or the problem that keeps it from being dialled, and never another number: what
can be read in two ways is a problem, too. ``number_text.py`` finds the digits among words and signs.
"""

import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from bx24app.errors import InvalidNumber, NumberNotAllowed
from bx24app.services.calling import number_text, numbering_plans
from bx24app.services.calling.countries import with_territories
from bx24app.services.calling.number_text import Run, TypedText
from bx24app.services.calling.numbering_plans import Number, read_home, read_world

MAX_NUMBER_LENGTH = 255
# So few digits are a service number, or belong to the words around a number.
SHORT_DIGITS = 6
# A text with more runs of so many digits is a list, and is not worked through.
MAX_RUNS = 3
# So few digits after a stroke only replace the last ones of the number before it: "030 901820/21".
ENDING_DIGITS = 3
# How people begin numbers of other countries; the way of one's own country is known to libphonenumber.
EXIT_PREFIXES = ("00", "011", "810")


class NumberProblem(StrEnum):
    """Why a text is no number that can be dialled."""

    EMPTY = "empty"
    LONG = "long"
    SHORT = "short"
    INVALID = "invalid"
    COSTLY = "costly"
    # More than one number.
    SEVERAL = "several"
    # Words, signs or digits that may be a part of the number.
    UNCLEAR = "unclear"
    # Numbers of two countries are written like this.
    AMBIGUOUS = "ambiguous"
    # The number names no country, and nobody has named that of the portal.
    COUNTRY_CODE = "country_code"


@dataclass(frozen=True)
class ReadNumber:
    """What a text means as a telephone number.

    ``e164`` is the number to dial; with the problem ``COSTLY`` it is one that is never dialled. ``country`` is that of
    the number. ``extension`` stood after the number and cannot be dialled.
    """

    e164: str | None = None
    country: str | None = None
    problem: NumberProblem | None = None
    extension: str = ""

    @property
    def can_be_dialled(self) -> bool:
        """Tell whether there is a number and nothing against it."""
        return self.e164 is not None and self.problem is None

    def is_abroad(self, home: str | None) -> bool:
        """Tell whether the number is neither of ``home`` nor of a territory of it."""
        return self.country is not None and (home is None or self.country not in with_territories(home))


NOTHING_READ = ReadNumber()


def dialled_number(text: str, country: str | None) -> str:
    """Return the number to dial in E.164; raises ``NumberNotAllowed`` for a costly one, else ``InvalidNumber``."""
    read = read_number(text, country)
    if read.problem is NumberProblem.COSTLY:
        raise NumberNotAllowed("to_number")
    if read.e164 is None:
        raise InvalidNumber("to_number", f"number_{read.problem}")
    return read.e164


# The cache helps because one request reads its number more than once.
@lru_cache(maxsize=256)
def read_number(text: str, country: str | None) -> ReadNumber:
    """Read a number as people type and store it; national ones are those of ``country`` (ISO 3166), None: unknown."""
    if len(text) > MAX_NUMBER_LENGTH:
        return ReadNumber(problem=NumberProblem.LONG)
    whole = number_text.normalized(text)
    read = _choose(number_text.split(whole), country)
    if read.e164 is None and read.problem is not NumberProblem.SEVERAL and "\n" in whole.strip():
        # A program has broken the line of one number.
        return _choose(number_text.split(" ".join(whole.split())), country)
    return read


@dataclass(frozen=True)
class Reading:
    """A run of digits as a number, or the problem with it."""

    number: Number | None = None
    problem: NumberProblem = NumberProblem.INVALID


def _choose(typed: TypedText, country: str | None) -> ReadNumber:
    """Choose the one run that is a number; runs of a few digits belong to the words around it."""
    long = [run for run in typed.runs if len(run.digits) > SHORT_DIGITS]
    if len(long) > MAX_RUNS:
        return ReadNumber(problem=NumberProblem.SEVERAL)
    readings = {run: _read_run(run, country) for run in long}
    numbers = {run: reading.number for run, reading in readings.items() if reading.number}
    if len({number.e164 for number in numbers.values()}) > 1:
        return ReadNumber(problem=NumberProblem.SEVERAL)
    if not numbers or typed.is_unclear:
        return ReadNumber(problem=_problem_of(typed, readings))
    run, number = next(iter(numbers.items()))
    others = [other for other in typed.runs if other not in numbers]
    # Among other digits a number must begin as numbers do, or those may belong to it.
    if any(other.has_plus for other in others) or (others and not number.is_whole):
        return ReadNumber(problem=NumberProblem.UNCLEAR)
    problem = NumberProblem.COSTLY if number.is_costly else None
    return ReadNumber(number.e164, number.country, problem, run.extension)


def _problem_of(typed: TypedText, readings: dict[Run, Reading]) -> NumberProblem:
    if not typed.runs:
        return NumberProblem.EMPTY
    if typed.is_unclear or len(typed.runs) > 1 or (typed.has_words and not readings):
        # Letters may stand for digits: "0800 REIFEN".
        return NumberProblem.UNCLEAR
    return next((reading.problem for reading in readings.values()), NumberProblem.SHORT)


def _read_run(run: Run, country: str | None) -> Reading:
    *before, last = run.parts
    if before and _is_two("".join(before), last, run, country):
        return Reading(problem=NumberProblem.SEVERAL)
    reading = _read_with_plus(run, country) if run.has_plus else _read_without_plus(run, country)
    if run.has_unit and len(run.groups[-1]) < ENDING_DIGITS and _any_number("".join(run.groups[:-1]), run, country):
        return Reading(problem=NumberProblem.UNCLEAR)
    if run.may_go_on and _any_number(run.digits + run.extension, run, country):
        return Reading(problem=NumberProblem.UNCLEAR)
    return reading


def _any_number(digits: str, run: Run, country: str | None) -> Number | None:
    return read_world(digits, country) if run.has_plus else read_home(digits, country)


def _is_two(before: str, last: str, run: Run, country: str | None) -> bool:
    """Tell whether a stroke stands between two numbers, or between two endings of one."""
    ends = len(last) <= ENDING_DIGITS or (len(last) > SHORT_DIGITS and read_home(last, country) is not None)
    return ends and len(before) > SHORT_DIGITS and _any_number(before, run, country) is not None


def _read_with_plus(run: Run, country: str | None) -> Reading:
    digits, trunk = run.digits, numbering_plans.trunk_prefix(country)
    if digits.startswith("00"):
        return Reading(read_world(digits.lstrip("0"), country))
    if trunk and digits.startswith(trunk):
        # The plus of "+8 (495) 123-45-67" and of "+030 901820" is wrong: that is no number of Vietnam.
        national, world = read_home(digits, country), read_world(digits.removeprefix("0"), country)
        if national and (run.groups[0] == trunk or world is None):
            return Reading(national)
        if national and digits.startswith("0") and world and national.e164 != world.e164:
            return Reading(problem=NumberProblem.AMBIGUOUS)
        return Reading(world)
    return Reading(read_world(digits, country))


def _read_without_plus(run: Run, country: str | None) -> Reading:
    digits = run.digits
    national = read_home(digits, country)
    prefix = next((prefix for prefix in EXIT_PREFIXES if digits.startswith(prefix)), None)
    if national and national.is_whole and not (run.has_space_before or prefix):
        return Reading(national)
    abroad = read_world(digits.removeprefix(prefix), country) if prefix else None
    if national and abroad and national.e164 != abroad.e164:
        # The plan of Thailand takes one digit more for its prefix than people of other countries write.
        return Reading(problem=NumberProblem.AMBIGUOUS)
    world = None if digits.startswith("0") else read_world(digits, country)
    if national is None:
        # Without a country, digits that name no other one may be national ones of any.
        found = abroad or (world if country or run.has_space_before else None)
        return Reading(found, NumberProblem.INVALID if country else NumberProblem.COUNTRY_CODE)
    if world and world.e164 != national.e164:
        reading = _one_of_two(run, national, world)
        if reading.number is not national:
            return reading
    return Reading(problem=NumberProblem.UNCLEAR) if _ends_whole(run, national, country) else Reading(national)


def _one_of_two(run: Run, national: Number, world: Number) -> Reading:
    """Decide between a national number without its prefix and a number that has lost its plus, by the first digits."""
    is_split = len(run.groups) > 1
    if national.is_whole:
        lost = run.has_space_before and not is_split
        return Reading(problem=NumberProblem.AMBIGUOUS) if lost else Reading(national)
    if run.has_space_before or run.groups[0] == world.calling_code or world.country == national.country:
        return Reading(world)
    return Reading(national) if is_split else Reading(problem=NumberProblem.AMBIGUOUS)


def _ends_whole(run: Run, national: Number, country: str | None) -> bool:
    """Tell whether a number without its prefix has a complete one at its end: ``2 030 901820`` of a second office."""
    trunk = numbering_plans.trunk_prefix(country)
    if national.is_whole or not trunk:
        return False
    ends = ("".join(run.groups[begin:]) for begin in range(1, len(run.groups)))
    return any(read_home(end, country) is not None for end in ends if end.startswith(trunk))


def digits(text: str) -> str:
    """Keep only the digits, in ASCII, because the portal writes numbers with and without a plus sign."""
    return "".join(str(unicodedata.decimal(char)) for char in text if char.isdecimal())
