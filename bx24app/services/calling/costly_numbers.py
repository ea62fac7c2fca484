"""Numbers that are never dialled, for staff and visitors alike: they cost the company money, or reach no telephone.

What kind a number is of says Google's metadata; where it is silent, or takes a costly range for an ordinary mobile one,
stands a table with the source of each entry.
"""

from dataclasses import dataclass

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberFormat, PhoneNumberType

# By Google: among others UK 070 and 076, CH 0878, IT 199 and the personal numbers of NANPA (+1 500 and its like).
REFUSED_TYPES = frozenset(
    {
        PhoneNumberType.PREMIUM_RATE,
        PhoneNumberType.SHARED_COST,
        PhoneNumberType.PERSONAL_NUMBER,
        PhoneNumberType.PAGER,
        PhoneNumberType.UAN,
        PhoneNumberType.VOICEMAIL,
    }
)


@dataclass(frozen=True)
class CostlyRange:
    """Every number whose digits in E.164 begin with ``prefix``, whether the metadata knows it or not."""

    prefix: str
    kind: str
    source: str
    # Beginnings inside of it that belong to ordinary telephones.
    but_not: tuple[str, ...] = ()


COSTLY_RANGES = (
    # The whole world.
    CostlyRange("800", "international freephone", "ITU-T E.169.1"),
    CostlyRange("808", "international shared cost", "ITU-T E.169.3"),
    CostlyRange("870", "satellite (Inmarsat)", "ITU-T E.164, list of assigned country codes"),
    CostlyRange("878", "universal personal telecommunication", "ITU-T E.168, E.164 list"),
    CostlyRange("881", "satellite (GMSS: Iridium, Globalstar)", "ITU-T E.164, list of assigned country codes"),
    CostlyRange("882", "international networks, Thuraya among them", "ITU-T E.164, list of identification codes"),
    CostlyRange("883", "international networks", "ITU-T E.164, list of identification codes"),
    CostlyRange("888", "relief in disasters", "ITU-T E.164, list of assigned country codes"),
    CostlyRange("979", "international premium rate", "ITU-T E.169.2"),
    CostlyRange("991", "trials of international networks", "ITU-T E.164, list of assigned country codes"),
    # Personal, pagers and shared cost.
    CostlyRange("4470", "personal", "Ofcom, National Telephone Numbering Plan: 070"),
    CostlyRange("4476", "pager", "Ofcom, National Telephone Numbering Plan: 076", but_not=("447624",)),
    CostlyRange("41878", "personal", "OFCOM Switzerland, numbering plan E.164: 0878"),
    CostlyRange("39178", "personal", "AGCOM, piano di numerazione nazionale: 178"),
    CostlyRange("39199", "shared cost", "AGCOM, piano di numerazione nazionale: 199"),
    CostlyRange("1500", "personal communications", "NANPA, 5XX non-geographic codes"),
    CostlyRange("1700", "services of carriers", "NANPA, 700 service access code"),
    CostlyRange("1900", "premium rate", "NANPA, 900 service access code"),
    CostlyRange("1976", "premium rate", "NANPA, not an area code: 976 is charged as premium"),
    # Satellites with national numbers. Globalstar has ordinary local numbers elsewhere: nobody can tell them apart.
    CostlyRange("6114", "satellite", "ACMA, Telecommunications Numbering Plan: 014"),
    CostlyRange("7954", "satellite (GlobalTel)", "Russian numbering plan: DEF code 954"),
    CostlyRange("861349", "satellite", "Chinese numbering plan (MIIT): 1349"),
    CostlyRange("86174", "satellite (Tiantong, Inmarsat)", "Chinese numbering plan (MIIT): 174"),
    CostlyRange("62868", "satellite (PSN)", "Indonesian national numbering plan: 0868"),
    # Charged like another country, under Russia's code.
    CostlyRange("7840", "Abkhazia", "memorandum of 2009-09-28 on codes 840 and 940 (Interfax)"),
    CostlyRange("7940", "Abkhazia, mobile", "memorandum of 2009-09-28 on codes 840 and 940 (Interfax)"),
)


def costly_range(number: PhoneNumber) -> CostlyRange | None:
    """The entry of the table that a number belongs to; it need not be valid."""
    digits = phonenumbers.format_number(number, PhoneNumberFormat.E164).lstrip("+")
    for entry in COSTLY_RANGES:
        if digits.startswith(entry.prefix) and not digits.startswith(entry.but_not):
            return entry
    return None


def is_costly(number: PhoneNumber) -> bool:
    """Tell whether a number is of a kind that is never dialled."""
    return costly_range(number) is not None or phonenumbers.number_type(number) in REFUSED_TYPES
