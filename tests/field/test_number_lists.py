"""The do-not-call list as people and their spreadsheets write it. A new case is a new line in one of the tables."""

import csv
import io
import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bx24app.services.calling.list_file import HEADING, SEPARATORS, ListLine, read_list, safe_cell, write_list
from bx24app.services.calling.spoken_text import one_line
from bx24app.web.charsets import decode_file
from tests.support.actors import Actor, json_of

NUMBER = "+4930901820"
OTHER = "+4930901821"

# Notes that have lost a number, or would be a formula somewhere.
NOTES = {
    "a semicolon": "asked by letter; and by phone",
    "a comma": "Berlin, Mitte",
    "a tab": "a\tb",
    "a bar": "a | b",
    "quotes": 'called "the boss"; she said no',
    "one quote": '5" pipe; wants none',
    "a ditto mark": '"',
    "an apostrophe": "'tis enough",
    "apostrophes before a sign": "''=1+1;''+2",
    "a line break": "first\nsecond",
    "a line break of Windows": "first\r\n+4930901829",
    "a line break of Unicode": "first\u2028+4930901829",
    "a formula": "=HYPERLINK(1)",
    "a formula for a semicolon": "x;=1+1;y",
    "a formula for a tab": "x\t=1+1",
    "a formula for a bar": "x|@SUM(1)",
    "a formula after a space": "x; =1+1",
    "a formula in quotes": 'x;"=1+1";y',
    "a plus, a minus, an at": "+1;-1,@1",
    "wide signs": "＝1;＋1;－1;＠1",
    "signs that compatibility makes wide": "⁼1;﹣1;₊1",
    "a minus sign": "−1",
    "Arabic separators": "أ؛ب،ج",
    "marks of direction": "\u200fאבג\u200e; =1",
    "a byte order mark": "\ufeff=1",
    "Excel's separator": "sep=;",
    "Excel's text": '="+49"',
    "a whole row": f"'{OTHER},x,2026",
    "a number": OTHER,
    "only a sign": "=",
    "an emoji": "👩‍👩‍👧; =1",
}


def exported(desk: Actor) -> str:
    response = desk.asks("GET", "/do-not-call/export")
    assert response.status_code == 200
    return response.text


def imported(desk: Actor, data: str | bytes, charset: str = "") -> list[str]:
    kind = f"text/csv; charset={charset}" if charset else "text/csv"
    headers = {"Authorization": f"Bearer {desk.ticket}", "Content-Type": kind}
    response = desk.client.post("/api/v1/do-not-call/import", data=data, headers=headers)
    assert response.status_code == 200, response.text
    return [line["outcome"] for line in json_of(response)["lines"]]


def listed(desk: Actor) -> dict[str, str | None]:
    return {row["number"]: row["note"] for row in json_of(desk.asks("GET", "/do-not-call?limit=200"))["numbers"]}


def emptied(desk: Actor) -> None:
    for row in json_of(desk.asks("GET", "/do-not-call?limit=200"))["numbers"]:
        assert desk.asks("DELETE", f"/do-not-call/{row['id']}").status_code == 204


# What spreadsheets make of a file that they divide at one of these marks, whatever the file meant.
DIVIDERS = [*SEPARATORS, ":", " ", "/", "^", "~"]
STARTS_A_FORMULA = re.compile(r"[\s\"\u200b-\u200f\ufeff]*[-=+@−＝＋－＠﹣₊⁼]")


def cells_of(text: str, divider: str) -> list[str]:
    """Every cell, with the quotes of CSV read, and with the quotes taken as they stand."""
    read = [cell for row in csv.reader(io.StringIO(text, newline=""), delimiter=divider) for cell in row]
    return read + re.split(f"[{re.escape(divider)}\r\n]", text)


def formulas(text: str) -> list[tuple[str, str]]:
    return [(divider, cell) for divider in DIVIDERS for cell in cells_of(text, divider) if STARTS_A_FORMULA.match(cell)]


def test_every_note_comes_back_and_no_cell_is_a_formula(desk: Actor) -> None:
    for place, note in enumerate(NOTES.values()):
        added = desk.asks("POST", "/do-not-call", {"number": f"+4930901{place:03}", "note": note})
        assert added.status_code == 201, note
    before, file = listed(desk), exported(desk)
    assert len(before) == len(NOTES)
    assert formulas(file) == []
    emptied(desk)
    assert imported(desk, file) == ["skipped", *["added"] * len(NOTES)]
    assert listed(desk) == before
    assert exported(desk).splitlines()[0] == file.splitlines()[0]


TEXTS = st.text(max_size=60) | st.text(alphabet="=+-@'\"; ,\t|\n\r＝−5x\u200f\ufeff", max_size=30)


@given(notes=st.lists(TEXTS, max_size=6))
@example(notes=['"', '";'])
@example(notes=["'=", "''="])
def test_reading_undoes_writing_for_every_note(notes: list[str]) -> None:
    rows = [(f"+4930901{place:03}", note, "2026-11-26T09:00:00+00:00") for place, note in enumerate(notes)]
    file = write_list(rows)
    assert read_list(file, 99).is_ours
    assert read_list("\ufeff" + file, 99).lines[1:] == tuple(ListLine(n, one_line(note)) for n, note, _ in rows)


@given(text=TEXTS.map(one_line))
def test_no_text_is_a_formula_in_any_spreadsheet(text: str) -> None:
    assert formulas(write_list([(NUMBER, text, "2026-11-26T09:00:00+00:00")])) == []
    assert formulas(safe_cell(text)) == []


# Files of other programs: each holds NUMBER with the note "x; y" and, after it, OTHER.
FILES = {
    "quoted, with commas": f'number,note\n{NUMBER},"x; y"\n{OTHER}\n',
    "quoted throughout": f'"{NUMBER}","x; y"\n"{OTHER}",""\n',
    "semicolons": f'{NUMBER};"x; y"\n{OTHER};\n',
    "tabs": f"{NUMBER}\tx; y\n{OTHER}\t\n",
    "Excel's separator": f"sep=|\nnumber|note\n{NUMBER}|x; y\n{OTHER}\n",
    "another separator that is named": f"sep=^\r\n{NUMBER}^x; y\r\n{OTHER}^\r\n",
    "a line kept as one cell": f'"number,note"\n"\'{NUMBER},""x; y"""\n{OTHER}\n',
    "our own file, divided and saved by a spreadsheet of semicolons": (
        f'number,note,added_at\n"\'{NUMBER},""x"; y",2026-11-26"\n{OTHER},,\n'
    ),
    "Excel's texts": f'"=""{NUMBER}""","x; y"\n="{OTHER}"\n',
    "apostrophes": f"'{NUMBER},\"x; y\"\n'{OTHER}\n",
    "line breaks of the Macintosh": f'{NUMBER},"x; y"\r{OTHER}',
    "pages of a printer": f'{NUMBER},"x; y"\f{OTHER}',
    "a line break inside of a note": f'{NUMBER},"x;\ny"\n{OTHER}\n',
    "marks before the number": f'\ufeff\ufeff{NUMBER},"x; y"\n\u200e{OTHER}\n',
    "wide separators": f"{NUMBER}，x; y\n{OTHER}；\n",
    "Arabic separators": f"{NUMBER}؛x; y\n{OTHER}،\n",
    "several headings": f'Our list\n\nNumber,Note\n{NUMBER},"x; y"\n{OTHER}\n',
    "more cells": f'{NUMBER},"x; y",Anna,"Main Street\n5"\n{OTHER}\n',
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_other_programs_are_read(name: str) -> None:
    found = [(line.number.strip("\u200e"), line.note) for line in read_list(FILES[name], 99).lines]
    assert [row for row in found if row[0].startswith("+")] == [(NUMBER, "x; y"), (OTHER, "")]


def test_a_file_is_reported_line_by_line(desk: Actor) -> None:
    file = f'sep=;\nOur list\n\nnumber;note\n{NUMBER};"x;\ny"\nnot a number\n{OTHER}\n{NUMBER}\n'
    outcomes = ["skipped", "skipped", "skipped", "skipped", "added", "refused", "added", "known"]
    assert imported(desk, file) == outcomes
    assert listed(desk) == {NUMBER: "x; y", OTHER: None}


# A quote that nobody closes must not swallow the numbers below it.
UNCLOSED = {
    "a ditto mark": f'{NUMBER},Anna\n{OTHER},"\n+4930901822,"\n',
    "inches": f'{NUMBER},5" pipe\n{OTHER},"6 pipe\n+4930901822,x\n',
    "an opened quote": f'{NUMBER},"Anna\n{OTHER},Bert\n+4930901822,Carl\n',
    "a quote before the number": f'"{NUMBER},Anna\n{OTHER},Bert\n+4930901822,Carl\n',
}


@pytest.mark.parametrize("name", UNCLOSED)
def test_an_open_quote_takes_no_number_off_the_list(name: str) -> None:
    found = [line.number for line in read_list(UNCLOSED[name], 99).lines]
    assert found == [f'"{NUMBER}' if UNCLOSED[name].startswith('"') else NUMBER, OTHER, "+4930901822"]


RUSSIAN, GERMAN = f"{NUMBER}\tпросил", f"{NUMBER}\tGrüße"
# The charset that the request names, the language of the portal, the bytes, and the text that is meant.
CHARSETS = {
    "UTF-8": ("", "ru", RUSSIAN.encode(), RUSSIAN),
    "UTF-8 with its mark": ("", "ru", RUSSIAN.encode("utf-8-sig"), RUSSIAN),
    "Excel's Unicode text": ("", "ru", RUSSIAN.encode("utf-16"), RUSSIAN),
    "UTF-16, the other way round": ("", "ru", b"\xfe\xff" + RUSSIAN.encode("utf-16-be"), RUSSIAN),
    "UTF-32": ("", "ru", RUSSIAN.encode("utf-32"), RUSSIAN),
    "UTF-16 that is called otherwise": ("utf-8", "ru", RUSSIAN.encode("utf-16"), RUSSIAN),
    "windows-1251, not named": ("", "ru", RUSSIAN.encode("cp1251"), RUSSIAN),
    "windows-1251, named": ("windows-1251", "de", RUSSIAN.encode("cp1251"), RUSSIAN),
    "windows-1251, called UTF-8": ("utf-8", "ru", RUSSIAN.encode("cp1251"), RUSSIAN),
    "koi8-r, named": ("KOI8-R", "ru", RUSSIAN.encode("koi8-r"), RUSSIAN),
    "windows-1252, not named": ("", "de", GERMAN.encode("cp1252"), GERMAN),
    "windows-1252, named": ("windows-1252", "ru", GERMAN.encode("cp1252"), GERMAN),
    "a charset that is none": ("zip", "de", GERMAN.encode(), GERMAN),
    "a charset that nobody knows": ("x" * 999 + "\0", "de", GERMAN.encode(), GERMAN),
}


@pytest.mark.parametrize("name", CHARSETS)
def test_a_file_is_read_in_its_charset(name: str) -> None:
    charset, language, data, text = CHARSETS[name]
    assert decode_file(data, charset, language) == text


def test_the_charset_comes_with_the_request(desk: Actor) -> None:
    assert imported(desk, RUSSIAN.encode("cp1251"), "windows-1251") == ["added"]
    assert imported(desk, f"{OTHER}\tпросила".encode("utf-16")) == ["added"]
    assert listed(desk) == {NUMBER: "просил", OTHER: "просила"}


def test_a_document_is_no_list(desk: Actor) -> None:
    headers = {"Authorization": f"Bearer {desk.ticket}", "Content-Type": "text/csv"}
    documents = [b"PK\x03\x04\x14\x00\x06\x00\xff", b"\x89PNG\r\n\x1a\n\x00", b"\xff\xfe\x00", b"\xd0\xcf\x11\xe0\xa1"]
    for data in documents:
        assert desk.client.post("/api/v1/do-not-call/import", data=data, headers=headers).status_code == 400


def test_a_number_that_rules_no_longer_know_comes_back_from_our_own_file_only(desk: Actor) -> None:
    assert imported(desk, "+4990012345,x\n") == ["refused"]
    assert imported(desk, write_list([("+4990012345", "x", "2026-11-26")])) == ["skipped", "added"]
    assert exported(desk).splitlines()[0].lstrip("\ufeff") == ",".join(HEADING)


# A mebibyte that is hard to divide; each is read in well under a second on one slow core.
HARD = {
    "quotes": '"' * 2**20,
    "commas": "," * 2**20,
    "lines that open a quote": '"a\n' * 2**18,
    "long lines that open a quote": ('"' + "a" * 3000 + "\n") * 300,
    "quotes and numbers": '"\n' + "1 ()" * 2**18,
    "empty lines in quotes": ('"' + "\n" * 4000) * 250,
    "signs": "'=" * 2**19,
    "cells in quotes": '"""a,' * 2**18,
}


@pytest.mark.parametrize("name", HARD)
def test_no_file_takes_long(name: str) -> None:
    begun = time.process_time()
    assert len(read_list(HARD[name], 5001).lines) <= 5001
    assert time.process_time() - begun < 2
