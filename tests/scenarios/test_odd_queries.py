"""Queries of any bytes and of any number of parameters, on routes that strangers may ask."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bx24app.web.heads import MOST_PARAMETERS

# What is read of a request's head asks no database.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

ROUTES = ["/nope", "/legal/terms", "/static/x/y", "/api/v1/me", "/c/abc", "/w/nokey", "/w/nokey/slots", "/events", "/"]


QUERIES = ["a=\xff", "\xff", "lang=\xd0", "a=%ff", "%ff%fe=%c3", "lang=%d0%", "a=%ud800", "\0=\0"]


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_bytes_in_a_query_fail(client: FlaskClient, method: str, path: str) -> None:
    for query in QUERIES:
        response = client.open(path, method=method, environ_overrides={"QUERY_STRING": query})
        assert response.status_code < 500, query


def test_what_is_no_text_is_replaced_and_the_rest_is_read(app: Flask) -> None:
    with app.test_request_context(environ_overrides={"QUERY_STRING": "lang=ru&b=%ffx&c=\xffy&d=&e=%D1%8F"}) as context:
        read = context.request.args.to_dict()
    assert read == {"lang": "ru", "b": "\ufffdx", "c": "\ufffdy", "d": "", "e": "\u044f"}


@pytest.mark.parametrize("path", ROUTES)
def test_a_query_of_endless_parameters_is_not_read(client: FlaskClient, path: str) -> None:
    response = client.get(path, query_string="&".join(["a=1"] * (MOST_PARAMETERS + 1)))
    assert (response.status_code, response.text) == (400, "The address has more than 100 parameters.\n")


def test_a_query_of_many_parameters_is(client: FlaskClient) -> None:
    assert client.get("/nope?" + "&".join(["a=1"] * MOST_PARAMETERS)).status_code == 404
