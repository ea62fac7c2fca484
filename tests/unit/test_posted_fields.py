"""The fields that a portal posts: they are read before anything is proven, so at little cost."""

import random
from urllib.parse import parse_qsl

import pytest
from flask import Flask, request

from bx24app.errors import Malformed
from bx24app.web.bodies import MAX_BAD_ESCAPES, MAX_BODY_PARTS, MAX_FIELDS, read_posted

FORM = "application/x-www-form-urlencoded"


def read(body: bytes, content_type: str = FORM) -> dict[str, str]:
    with Flask("app").test_request_context("/", method="POST", data=body, content_type=content_type):
        fields = read_posted()
        assert "form" not in vars(request._get_current_object())  # type: ignore[attr-defined]  # Flask keeps what it has read.
        return fields


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"", {}),
        (b"data%5BCALL_ID%5D=a+b%2Bc&x=", {"data[CALL_ID]": "a b+c", "x": ""}),
        ("a=Анна&b=%D0%90".encode(), {"a": "Анна", "b": "А"}),
        (b"a=1&a=2", {"a": "1"}),
        (b"a=%ff%fe&b=%zz", {"a": "��", "b": "%zz"}),
        (b"&" * 900, {}),
    ],
)
def test_they_are_read_as_flask_does(body: bytes, fields: dict[str, str]) -> None:
    assert read(body) == fields


def test_a_part_of_a_multipart_body_may_have_no_name() -> None:
    parts = (
        b'Content-Disposition: form-data; name="a"\r\n\r\n%b' % "Ж".encode(),
        b"Content-Disposition: form-data\r\n\r\nx",
    )
    body = b"".join(b"--b\r\n%b\r\n" % part for part in parts) + b"--b--\r\n"
    assert read(body, "multipart/form-data; boundary=b") == {"a": "Ж"}


def test_a_name_in_a_multipart_body_may_be_in_any_script() -> None:
    parts = [b'Content-Disposition: form-data; name="%b"\r\n\r\nx' % name.encode() for name in ("имя", "a")]
    assert read(multipart(*parts), "multipart/form-data; boundary=b") == {"имя": "x", "a": "x"}


@pytest.mark.parametrize("field", [b"a=&", b"a&", b"&", b"%ff="])
def test_too_many_are_not_read(field: bytes) -> None:
    with pytest.raises(Malformed):
        read(field * MAX_FIELDS + b"a=%ff&" * MAX_FIELDS)


NAMED = b'Content-Disposition: form-data; name="a"'


def multipart(*parts: bytes) -> bytes:
    return b"".join(b"--b\r\n%b\r\n" % part for part in parts) + b"--b--\r\n"


@pytest.mark.parametrize(
    "body",
    [
        multipart(*[NAMED + b"\r\n\r\nx"] * (MAX_BODY_PARTS + 1)),
        multipart(NAMED + b";a=b" * 60_000 + b"\r\n\r\nx"),
        multipart(*[NAMED + b";a=b" * 220 + b"\r\n\r\nx"] * 20),
        multipart(NAMED + b";" * 250_000 + b"\r\n\r\nx"),
        multipart(NAMED + b"\r\n" + b"a:\r\n" * 60_000 + b"\r\nx"),
        multipart(NAMED + b"\r\n\r\nx", NAMED + b"\r\nContent-Type: a/b" + b";a=b" * 60_000 + b"\r\n\r\nx"),
        b"\r\n" * 120_000 + multipart(NAMED + b"\r\n\r\nx"),
        b"--" * 120_000 + multipart(NAMED + b"\r\n\r\nx"),
    ],
    ids=[
        "parts",
        "options",
        "options of many",
        "signs",
        "lines of a head",
        "a later head",
        "lines before it",
        "dashes before it",
    ],
)
def test_what_is_costly_in_a_multipart_body_is_not_read(body: bytes) -> None:
    with pytest.raises(Malformed):
        read(body, "multipart/form-data; boundary=b")


def test_a_multipart_body_of_many_parts_is() -> None:
    parts = [NAMED.replace(b'"a"', b'"a%d"' % turn) + b"\r\n\r\n--%d" % turn for turn in range(MAX_BODY_PARTS)]
    fields = read(b"\r\n" + multipart(*parts), "multipart/form-data; boundary=b")
    assert fields == {f"a{turn}": f"--{turn}" for turn in range(MAX_BODY_PARTS)}


@pytest.mark.parametrize("bad", [b"%", b"%zz", b"\xe9%", b"%4"])
def test_escapes_that_are_none_are_read_up_to_a_bound(bad: bytes) -> None:
    assert read(b"a=" + bad * MAX_BAD_ESCAPES)["a"] == (bad * MAX_BAD_ESCAPES).decode("utf-8", "replace")
    with pytest.raises(Malformed):
        read(b"a=" + bad * (MAX_BAD_ESCAPES + 1))


def test_any_bytes_are_read_as_by_the_standard_library() -> None:
    letters = [
        b"%",
        b"=",
        b"a",
        b"B",
        b"0",
        b"9",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b"\xff",
        b"_",
        b"\0",
        b"+",
        b"&",
        b"?",
        b".",
    ]
    generator = random.Random(7)
    for _ in range(2000):
        body = b"".join(generator.choices(letters, k=generator.randint(0, 40)))
        expected: dict[str, str] = {}
        for pair in parse_qsl(body.decode("latin-1"), keep_blank_values=True, encoding="latin-1"):
            name, value = (part.encode("latin-1").decode("utf-8", "replace") for part in pair)
            expected.setdefault(name, value)
        assert read(body) == expected, body
