"""The fields that a portal posts: they are read before anything is proven, so at little cost."""

import pytest
from flask import Flask, request

from bx24app.errors import Malformed
from bx24app.web.bodies import MAX_FIELDS, read_posted

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


@pytest.mark.parametrize("field", [b"a=&", b"a&", b"&", b"%ff="])
def test_too_many_are_not_read(field: bytes) -> None:
    with pytest.raises(Malformed):
        read(field * MAX_FIELDS + b"a=%ff&" * MAX_FIELDS)
