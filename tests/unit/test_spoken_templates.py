"""What a form says to the manager: checked when it is saved, filled with whatever a visitor typed."""

import time
import unicodedata

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from bx24app.errors import TextInvalid, UnknownVariable
from bx24app.inputs import in_normal_form
from bx24app.services.calling.spoken_text import (
    MAX_SPOKEN_LENGTH,
    VARIABLES,
    check_template,
    default_template,
    fill_template,
    one_line,
)
from tests.support import ROOT


@pytest.mark.parametrize(
    ("template", "named"),
    [
        ("Call from {nmae}", "{nmae}"),
        ("Call from { Name }", "{Name}"),
        ("Call from {}", "{}"),
        ("Call from {0}", "{0}"),
        ("Call from {name.__class__}", "{name.__class__}"),
        ("Call from {name!r:>9999}", "{name!r:>9999}"),
        ("{name} and {number}", "{number}"),
    ],
)
def test_an_unknown_variable_is_refused_and_named(template: str, named: str) -> None:
    with pytest.raises(UnknownVariable) as caught:
        check_template(template)
    assert (caught.value.code, caught.value.field, caught.value.words) == ("text_invalid", "text", named)


@pytest.mark.parametrize("template", ["", " \n ", "{name}", "…!", "{name}, {topic}", "a" * 301, "a" * 290 + "{name}"])
def test_a_template_without_words_or_without_room_is_refused(template: str) -> None:
    with pytest.raises(TextInvalid):
        check_template(template)


@pytest.mark.parametrize(
    "template",
    ["Call {{ name }}", "Call {% if name %}", "Call ${name}", "Call <b>now</b> & <script>", "Call {{7*7}} %s %(name)s"],
)
def test_the_syntax_of_other_engines_is_text(template: str) -> None:
    assert check_template(template) == template
    assert fill_template(template, name="Anna") == template


def test_values_are_put_in_once_and_as_they_are() -> None:
    told = fill_template("Call {name} about {topic}", name="{topic} {{7*7}} <b>", topic="{name} \\g<0> $1")
    assert told == "Call {topic} {{7*7}} <b> about {name} \\g<0> $1"


def test_control_and_invisible_characters_are_left_out() -> None:
    assert fill_template("Call {name}", name="An\x00na\r\n\tB\u202e\u200b\ud800\x1b[31m\u2028C") == "Call Anna B[31m C"


EN, RU = default_template("en"), default_template("ru")


@pytest.mark.parametrize(
    ("template", "values", "spoken"),
    [
        (EN, {}, "Callback request. Connecting you with the customer."),
        (EN, {"name": "Anna"}, "Callback request from Anna. Connecting you with the customer."),
        (EN, {"form": "Shop"}, "Callback request, form Shop. Connecting you with the customer."),
        (
            EN,
            {"name": "Anna", "form": "Shop"},
            "Callback request from Anna, form Shop. Connecting you with the customer.",
        ),
        (RU, {}, "Заказан обратный звонок. Соединяю с клиентом."),
        (RU, {"form": "Сайт"}, "Заказан обратный звонок, форма Сайт. Соединяю с клиентом."),
        ("Topic: {topic}. Call {name}, please!", {}, "Call, please!"),
        ("Topic: {topic}. Call {name}, please!", {"topic": "Sofa"}, "Topic: Sofa. Call, please!"),
        ("Request ({topic}) from “{name}”", {}, "Request"),
        ("Request ({topic}) from “{name}”", {"name": "Anna"}, "Request from “Anna”"),
        ("Hello — {topic} — {name}. Bye", {"name": "Anna"}, "Hello — Anna. Bye"),
        ("{name} asks for a call about {topic}", {}, "Asks for a call"),
        ("{name}, {topic}: call", {}, "Call"),
        ("Wait... {name}. Go", {}, "Wait... Go"),
        ("Callback; {name}; {topic}.", {}, "Callback."),
        ("Topic: {topic}", {}, "Topic:"),
        ("Call at 10:30, {name}", {"name": " \t"}, "Call at 10:30"),
    ],
)
def test_what_is_empty_leaves_a_whole_sentence(template: str, values: dict[str, str], spoken: str) -> None:
    assert fill_template(check_template(template), **values) == spoken


def test_long_values_are_shortened_at_a_word_and_short_ones_kept() -> None:
    spoken = fill_template("Call {name} about {topic}", name="Anna", topic="furniture " * 100)
    assert spoken.startswith("Call Anna about furniture furniture")
    assert spoken.endswith("furniture…")
    assert MAX_SPOKEN_LENGTH - 12 < len(spoken) <= MAX_SPOKEN_LENGTH


@given(
    template=st.text(alphabet="ab {}%$.,:—(name)topic", min_size=1, max_size=MAX_SPOKEN_LENGTH + 20),
    values=st.fixed_dictionaries({name: st.one_of(st.none(), st.text(max_size=2000)) for name in VARIABLES}),
)
def test_whatever_the_values_hold_the_text_is_short_plain_and_not_empty(
    template: str, values: dict[str, str | None]
) -> None:
    try:
        checked = check_template(template)
    except TextInvalid:
        reject()
    spoken = fill_template(checked, **values)
    assert 0 < len(spoken) <= MAX_SPOKEN_LENGTH
    assert spoken.isprintable()


@given(st.fixed_dictionaries({name: st.text(max_size=2000) for name in VARIABLES}))
def test_the_default_templates_hold_any_values(values: dict[str, str]) -> None:
    for template in (EN, RU):
        assert 0 < len(fill_template(check_template(template), **values)) <= MAX_SPOKEN_LENGTH


# An accent above and one below; a mark inside of a letter of Tibetan; half a letter of Japanese that becomes a mark.
MARKS = {
    "accents": "\u0301" * 8000 + "\u0323" * 8000,
    "Tibetan": "\u0f73" * 30_000,
    "Japanese": "\u0301\uff9e" * 30_000,
}


@pytest.mark.parametrize("marks", MARKS.values(), ids=MARKS)
def test_no_marks_on_a_letter_take_long(marks: str) -> None:
    began = time.process_time()
    assert one_line("Ann" + marks + "e").endswith("e")
    assert len(in_normal_form("NFKD", marks)) < 100
    assert time.process_time() - began < 0.3


# One of them stands for two marks in itself.
FEW_MARKS = st.tuples(st.sampled_from("aé한ก "), st.text(alphabet="\u0301\u0323\u0e33\u0344", max_size=4)).map("".join)


@given(st.lists(FEW_MARKS, max_size=80).map("".join))
def test_a_text_without_that_many_marks_is_what_unicode_says(text: str) -> None:
    assert all(in_normal_form(form, text) == unicodedata.normalize(form, text) for form in ("NFC", "NFKD"))


def test_nothing_else_normalizes_texts() -> None:
    modules = (ROOT / "bx24app").rglob("*.py")
    assert [path.name for path in modules if "unicodedata.normalize(" in path.read_text()] == ["inputs.py"]


@pytest.mark.parametrize("mark", ["\u0316", "\u0489", "\u0302", "\u0e4d", "\u064b", "\u20d0"])
def test_no_pile_of_marks_covers_the_lines_around(mark: str) -> None:
    assert one_line(f"A{mark * 30}nna").count(mark) <= 8


@pytest.mark.parametrize("name", ["Nguyễn Ánh", "นี้", "שָׁלוֹם", "مُحَمَّدٌ", "Zoë", "Šťastný", "हिन्दी", "é̩̀x"])
def test_marks_of_living_scripts_stay(name: str) -> None:
    assert one_line(name) == unicodedata.normalize("NFC", name)
