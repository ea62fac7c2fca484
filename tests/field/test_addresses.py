"""Addresses as people write them, at every door that takes one. A new case is a new line in one of the tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bx24app.bitrix24.authorization import AppInfo
from bx24app.messages.diagnostics import describe
from bx24app.services import diagnostics
from bx24app.settings import Settings, SettingsError, read_settings
from bx24app.urls import normal_origin, normal_url, origin_of
from tests.conftest import OtherApp, plain_environ
from tests.support.actors import Actor, json_of
from tests.support.visitors import Visitor
from tests.support.webhook_steps import KEY, form

__all__ = ["form"]  # A fixture.

# As people write it, and as browsers write it in ``Origin``.
ORIGINS = {
    "https://shop.example": "https://shop.example",
    "https://Shop.Example": "https://shop.example",
    "HTTPS://shop.example/": "https://shop.example",
    "https://shop.example:443": "https://shop.example",
    "https://shop.example:443/": "https://shop.example",
    "https://shop.example:": "https://shop.example",
    "https://shop.example:8443": "https://shop.example:8443",
    "https://shop.example.": "https://shop.example",
    "  https://shop.example\n": "https://shop.example",
    "\ufeffhttps://shop.example\u200b": "https://shop.example",
    "https://müller.example": "https://xn--mller-kva.example",
    "https://MÜLLER.example": "https://xn--mller-kva.example",
    "https://mu\u0308ller.example": "https://xn--mller-kva.example",
    "https://m%C3%BCller.example": "https://xn--mller-kva.example",
    "https://xn--mller-kva.example": "https://xn--mller-kva.example",
    # Browsers follow IDNA 2008, where ß is a letter of its own; Python's own codec would make it strasse.
    "https://straße.example": "https://xn--strae-oqa.example",
    "https://магазин.рф": "https://xn--80aairftm.xn--p1ai",
    "https://МАГАЗИН.РФ:443/": "https://xn--80aairftm.xn--p1ai",
    "https://商店.example": "https://xn--czrs0t.example",
    "https://shop。example": "https://shop.example",
    "https://ｓｈｏｐ．example": "https://shop.example",
    "https://💩.example": "https://xn--ls8h.example",
    "https://my_shop.example": "https://my_shop.example",
    "https://[2001:DB8:0::1]": "https://[2001:db8::1]",
}
NO_ORIGINS = [
    "",
    "shop.example",
    "https://",
    "https://shop example",
    "https://*.example",
    "https://shop..example",
    "https://.example",
    "https://shop.example:99999",
    "https://shop.example:x",
    "https://user:word@shop.example",
    "https://user@shop.example",
    "https://[::1",
    "https://" + "ü" * 80 + ".example",
    "https://a%2Fb.example",
    "https://shop.example..",
    "HTTP://0..",
    "https://shop.example\n.evil.example",
    "ftp://shop.example",
    "javascript:alert(1)",
    "https://shop.example/path",
    "https://shop.example?x",
    "https://shop.example#x",
]


@pytest.mark.parametrize("written", ORIGINS)
def test_an_address_is_read_as_browsers_write_it(written: str) -> None:
    assert normal_origin(written) == ORIGINS[written]
    assert normal_origin(normal_origin(written)) == ORIGINS[written]
    assert origin_of(f"{written.strip()}/contact?x=ü#y" if written.isascii() else written) == ORIGINS[written]


@pytest.mark.parametrize("written", NO_ORIGINS)
def test_what_is_no_address_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        normal_origin(written)


@given(st.text(max_size=80) | st.text(alphabet="htps:/.[]@%#?-_ xnüß。１\u200d١", max_size=60).map("https://{}".format))
def test_no_text_breaks_the_reader_and_reading_twice_changes_nothing(text: str) -> None:
    for read in (normal_origin, normal_url, origin_of):
        try:
            once = read(text)
        except ValueError:
            continue
        assert once.isascii()
        assert read(once) == once


# PUBLIC_URL and AUTH_SERVER


def settings_of(**changes: str) -> Settings:
    production = {"ALLOW_INSECURE_PORTALS": "false", "PUBLIC_URL": "https://desk.example"}
    production |= {"AUTH_SERVER": "https://oauth.bitrix.info", **changes}
    return read_settings(plain_environ() | {f"BX24APP_{name}": value for name, value in production.items()})


@pytest.mark.parametrize("written", ORIGINS)
def test_settings_take_every_spelling(written: str) -> None:
    settings = settings_of(PUBLIC_URL=written, AUTH_SERVER=written)
    assert (settings.public_origin, settings.auth_origin) == (ORIGINS[written], ORIGINS[written])
    is_told = written.strip().rstrip("/") != ORIGINS[written]
    assert list(settings.respelled) == ["BX24APP_PUBLIC_URL", "BX24APP_AUTH_SERVER"] * is_told


@pytest.mark.parametrize("written", [one for one in NO_ORIGINS if one])
def test_settings_refuse_what_is_no_address(written: str) -> None:
    for name in ("PUBLIC_URL", "AUTH_SERVER"):
        with pytest.raises(SettingsError, match=f"BX24APP_{name} must be an https address without a path"):
            settings_of(**{name: written})


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("https://Desk.Example:443/", "https://desk.example"),
        ("https://стол.example", "https://xn--k1afie.example"),
        ("HTTPS://desk.example:8443", "https://desk.example:8443"),
    ],
)
def test_the_hosted_form_is_open_however_our_address_is_written(
    other_app: OtherApp, visitor: Visitor, capfd: pytest.CaptureFixture[str], written: str, origin: str
) -> None:
    app = other_app(PUBLIC_URL=written)
    assert '"address_respelled"' in capfd.readouterr().err
    there = Visitor(app.test_client(), visitor.form_key, origin=origin)
    assert there.asks().status_code == 202
    with app.test_request_context():
        found = [one for one in diagnostics.examine_installation() if one.check == "spelling"]
        [told] = describe(found)
    assert (told.level, told.mend) == ("ok", "")
    assert told.sentence == f"BX24APP_PUBLIC_URL is {written}, read as {origin}."


# Sites of a form, in its settings and in the rule tester


def test_sites_of_a_form_take_every_spelling(desk: Actor, visitor: Visitor) -> None:
    body = {"allowed_origins": list(ORIGINS)}
    response = desk.asks("PATCH", f"/forms/{visitor.form_key}", body)
    assert response.status_code == 200, response.text
    assert json_of(response)["allowed_origins"] == list(dict.fromkeys(ORIGINS.values()))
    for written in NO_ORIGINS:
        refused = desk.asks("PATCH", f"/forms/{visitor.form_key}", {"allowed_origins": [written]})
        assert refused.status_code == 400, written


@pytest.mark.parametrize(
    "written", ["HTTPS://Müller.example:443/", "https://xn--mller-kva.example/contact?x=1", "https://müller.example."]
)
def test_the_rule_tester_knows_the_site(desk: Actor, visitor: Visitor, written: str) -> None:
    desk.asks("PATCH", f"/forms/{visitor.form_key}", {"allowed_origins": ["https://müller.example"]})
    body = {"form_key": visitor.form_key, "number": "+4930901820", "origin": written}
    rules = json_of(desk.asks("POST", "/rules/test", body))["rules"]
    assert [one["verdict"] for one in rules if one["rule"] == "origin"] == ["passed"]
    body["origin"] = "https://other.example/" + written
    assert json_of(desk.asks("POST", "/rules/test", body))["decides"] == "origin"


# Webhooks: as people write them, and as they are kept and asked.
WEBHOOKS = {
    "https://Shop.Example:443/Hook?A=b#c": "https://shop.example/Hook?A=b",
    "https://müller.example/приём?x=ü": ("https://xn--mller-kva.example/%D0%BF%D1%80%D0%B8%D1%91%D0%BC?x=%C3%BC"),
    "https://магазин.рф:8443": "https://xn--80aairftm.xn--p1ai:8443",
    "https://\u0430pple.example/": "https://xn--pple-43d.example/",
    " https://straße.example/a b%20c ": "https://xn--strae-oqa.example/a%20b%20c",
}
NO_WEBHOOKS = [one for one in NO_ORIGINS if "shop.example/path" not in one and "?x" not in one and "#x" not in one]
# Names that normalization makes out of other signs must not lead inside either.
INSIDE = ["https://１２７．0.0.1/", "https://①②⑦.0.0.1/", "https://[::FFFF:10.0.0.1]/", "https://127.0.0.1./"]


def test_webhooks_take_every_spelling(other_app: OtherApp, administrator: Actor, form: int) -> None:
    guarded = other_app(
        ALLOW_INSECURE_PORTALS="false", PUBLIC_URL="https://desk.example.com", AUTH_SERVER="https://oauth.bitrix.info"
    )
    headers = {"Authorization": f"Bearer {administrator.ticket}"}
    client = guarded.test_client()
    for written, kept in WEBHOOKS.items():
        answer = client.post("/api/v1/webhooks", json={"form_key": KEY, "url": written}, headers=headers)
        assert (answer.status_code, json_of(answer).get("url")) == (201, kept)
        client.delete(f"/api/v1/webhooks/{json_of(answer)['id']}", headers=headers)
    for written in [*NO_WEBHOOKS, *INSIDE, "https://shop.example/" + "ü" * 1000]:
        answer = client.post("/api/v1/webhooks", json={"form_key": KEY, "url": written}, headers=headers)
        assert (answer.status_code, json_of(answer)["code"]) == (400, "invalid_request"), written


# A portal in a company's network


def test_a_portals_address_is_one_however_the_server_writes_it() -> None:
    names = ["https://Портал.example:443/rest/", "https://xn--80awhdgm.example/rest/", "HTTPS://портал.example/rest/"]
    found = [
        AppInfo.model_validate(
            {"client_id": "x", "user_id": 1, "install": {"member_id": "m", "domain": "d", "client_endpoint": name}}
        ).install.client_endpoint
        for name in names
    ]
    assert set(found) == {normal_url("https://портал.example/rest/")}
