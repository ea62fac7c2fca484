"""Opening a page proves application, portal and person; everything else gets a short page and nothing more."""

import json
import re
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from bx24app.database import reading
from bx24app.models import Credential, Portal, User
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal, LaunchPost
from tests.support.actors import Actor, post_frame
from tests.support.tables import rows_in_one_world

TICKET = 'name="bx24app-ticket"'
PAGES = ("/", "/placement", "/install", "/session")


def counts(app: Flask) -> list[int]:
    with app.app_context(), reading() as session:
        return [session.scalars(select(func.count()).select_from(m)).one() for m in (Portal, Credential, User)]


def changed(post: LaunchPost, **form: str) -> LaunchPost:
    query = {name: form.pop(name) for name in list(form) if name in post.query}
    return LaunchPost(post.handler, post.query | query, post.form | form)


def fitting(post: LaunchPost, path: str) -> LaunchPost:
    """The post with a placement that belongs to the page."""
    return changed(post, PLACEMENT="CRM_LEAD_DETAIL_TAB") if path == "/placement" else post


def test_a_page_is_opened_with_one_request_to_the_portal(manager: Actor, portal: FakePortal) -> None:
    lead = portal.crm.add_lead("Price list", "Clara", ["+49 30 901820"])
    manager.opens("CRM_LEAD_DETAIL_TAB", ID=str(lead))
    asked = len(portal.requests)
    response = manager.opens("CRM_LEAD_DETAIL_TAB", ID=str(lead))
    assert response.status_code == 200
    assert [recorded.path for recorded in portal.requests[asked:]] == ["batch"]
    assert "Call Clara" in response.text
    assert 'value="+49 30 901820"' in response.text
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert f"frame-ancestors {portal.url}" in response.headers["Content-Security-Policy"]
    assert "X-Frame-Options" not in response.headers
    assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize("kind", ["LEAD", "DEAL", "CONTACT", "COMPANY"])
def test_the_number_is_filled_in_from_every_kind_of_card(manager: Actor, portal: FakePortal, kind: str) -> None:
    phones = ["+49 30 901820"]
    contact = portal.crm.add_contact("Marta", "Keller", phones)
    ids = {
        "LEAD": portal.crm.add_lead("Lead", "", phones),
        "CONTACT": contact,
        "COMPANY": portal.crm.add_company("Company", phones),
        "DEAL": portal.crm.add_deal("Deal", contact_id=contact),
    }
    page = manager.opens(f"CRM_{kind}_DETAIL_TAB", ID=str(ids[kind])).text
    assert 'value="+49 30 901820"' in page
    assert f'data-entity-type="{kind}"' in page


Cards = Callable[[FakePortal], tuple[str, int]]


def of_contact(portal: FakePortal) -> int:
    return portal.crm.add_contact("Marta", "Keller", ["+49 30 901820"])


def of_company(portal: FakePortal) -> int:
    return portal.crm.add_company("Keller & Co.", ["+49 30 901820"])


def of_employer(portal: FakePortal) -> int:
    return portal.crm.add_contact("Jean", company_id=of_company(portal))


def staff_of_company(portal: FakePortal) -> int:
    company = portal.crm.add_company("Keller & Co.")
    portal.crm.add_contact("Marta", "Keller", ["+49 30 901820"], company_id=company)
    return company


@pytest.mark.parametrize(
    ("add_card", "owner"),
    [
        (lambda p: ("LEAD", p.crm.add_lead("Returning", contacts=(of_contact(p),))), "Marta Keller"),
        (lambda p: ("LEAD", p.crm.add_lead("Returning", company_id=of_company(p))), "Keller &amp; Co."),
        (lambda p: ("LEAD", p.crm.add_lead("Two", contacts=(p.crm.add_contact("A"), of_contact(p)))), "Marta Keller"),
        (lambda p: ("DEAL", p.crm.add_deal("Deal", contact_id=of_contact(p))), "Marta Keller"),
        (lambda p: ("DEAL", p.crm.add_deal("Two", p.crm.add_contact("A"), more=(of_contact(p),))), "Marta Keller"),
        (lambda p: ("DEAL", p.crm.add_deal("Deal", company_id=of_company(p))), "Keller &amp; Co."),
        (lambda p: ("CONTACT", p.crm.add_contact("Jean", company_id=of_company(p))), "Keller &amp; Co."),
        (lambda p: ("COMPANY", staff_of_company(p)), "Marta Keller"),
        (lambda p: ("LEAD", p.crm.add_lead("Returning", contacts=(of_employer(p),))), "Keller &amp; Co."),
        (lambda p: ("DEAL", p.crm.add_deal("Deal", contact_id=of_employer(p))), "Keller &amp; Co."),
    ],
    ids=[
        "contact",
        "company",
        "second contact",
        "deal",
        "second of deal",
        "company of deal",
        "employer",
        "staff",
        "employer of contact",
        "employer of deal's contact",
    ],
)
def test_a_card_without_a_number_offers_those_of_whom_it_points_to(
    manager: Actor, portal: FakePortal, add_card: Cards, owner: str
) -> None:
    kind, id = add_card(portal)
    assert 'value="+49 30 901820"' in manager.opens(f"CRM_{kind}_DETAIL_TAB", ID=str(id)).text
    # With another number it says whose each of them is.
    portal.crm.entities[kind][id]["PHONE"] = [{"VALUE": "+49 30 901821", "VALUE_TYPE": "MOBILE"}]
    page = manager.opens(f"CRM_{kind}_DETAIL_TAB", ID=str(id)).text
    assert page.index("+49 30 901821 (mobile)") < page.index(f"+49 30 901820 (work, {owner})")


@pytest.mark.parametrize("missing", ["crm.contact.get", "crm.company.get", "crm.lead.contact.items.get"])
def test_what_a_card_points_to_and_cannot_be_read_takes_nothing_from_the_card(
    manager: Actor, portal: FakePortal, missing: str
) -> None:
    portal.missing_methods.add(missing)
    lead = portal.crm.add_lead("Lead", "Clara", ["+49 30 901820"], contacts=(portal.crm.add_contact("Marta"),))
    response = manager.opens("CRM_LEAD_DETAIL_TAB", ID=str(lead))
    assert 'value="+49 30 901820"' in response.text
    assert "could not be read" not in response.text


@pytest.mark.parametrize(
    ("part", "limit"),
    [
        ("profile", "QUERY_LIMIT_EXCEEDED"),
        ("profile", "OPERATION_TIME_LIMIT"),
        ("app.info", "OVERLOAD_LIMIT"),
        ("user.current", "QUERY_LIMIT_EXCEEDED"),
    ],
)
def test_a_limit_on_one_question_changes_nothing_that_others_say(
    manager: Actor, administrator: Actor, portal: FakePortal, part: str, limit: str
) -> None:
    lead = portal.crm.add_lead("Lead", "Clara", ["+49 30 901820"])
    portal.faults.add("error", f"batch:{part}", code=limit)
    page = administrator.opens("CRM_LEAD_DETAIL_TAB", ID=str(lead))
    assert 'value="+49 30 901820"' in page.text
    assert administrator.asks("GET", "/forms").status_code == 200
    # It needs the portal's own word of a moment ago.
    assert administrator.asks("POST", "/forms", {"name": "Shop", "default_country": "DE"}).status_code == 201
    # While a limit lasts the page of this moment may have no rights; those of the person are what they were.
    ticket = administrator.ticket
    portal.faults.add("error", f"batch:{part}", code=limit, times=2)
    assert administrator.opens().status_code == 200
    administrator.ticket = ticket
    assert administrator.asks("GET", "/forms").status_code == 200


def test_the_number_is_filled_in_from_the_call_card(manager: Actor, portal: FakePortal) -> None:
    options = {
        "CALL_ID": "c",
        "PHONE_NUMBER": "+4930901820",
        "CRM_ENTITY_TYPE": "",
        "CRM_ENTITY_ID": "0",
        "CRM_ACTIVITY_ID": "undefined",
    }
    assert 'value="+49 30 901820"' in manager.opens("CALL_CARD", **options).text
    lead = portal.crm.add_lead("Lead", "Clara", ["+44 20 7946 0018"])
    page = manager.opens("CALL_CARD", **options | {"CRM_ENTITY_TYPE": "LEAD", "CRM_ENTITY_ID": str(lead)}).text
    assert page.index("+49 30 901820") < page.index("+44 20 7946 0018")


def test_a_card_that_cannot_be_read_is_said_and_the_page_works(manager: Actor) -> None:
    response = manager.opens("CRM_LEAD_DETAIL_TAB", ID="404")
    assert response.status_code == 200
    assert "could not be read" in response.text
    assert TICKET in response.text


@pytest.mark.parametrize("path", PAGES)
def test_a_token_of_another_application_opens_nothing(
    app: Flask, manager: Actor, portal: FakePortal, fake: FakeBitrix24, path: str
) -> None:
    other = fake.register_app("app.other", "s", "other.app", "http://a.b/", "http://a.b/", ("crm",))
    stolen = portal.install(other)
    before = counts(app)
    response = post_frame(manager.client, path, fitting(stolen, path))
    assert response.status_code == 403
    assert TICKET not in response.text
    assert counts(app) == before


@pytest.mark.parametrize("path", PAGES)
def test_a_token_of_another_portal_opens_nothing(app: Flask, manager: Actor, fake: FakeBitrix24, path: str) -> None:
    other = fake.add_portal("beta")
    stranger = Actor(manager.client, other, manager.application, other.administrator)
    stranger.installs()
    before = counts(app)
    foreign = changed(stranger.launches(), member_id=manager.portal.member_id)
    response = post_frame(manager.client, path, fitting(foreign, path))
    assert response.status_code == 403
    assert counts(app) == before


@rows_in_one_world("path", PAGES)
@rows_in_one_world(
    ("form", "status"),
    [
        ({"AUTH_ID": ""}, 403),
        ({"AUTH_ID": "0" * 32}, 403),
        ({"member_id": "0" * 32}, 403),
        ({"member_id": ""}, 400),
        ({"member_id": "'; DROP TABLE portal; --"}, 400),
        ({"DOMAIN": ""}, 400),
        ({"PLACEMENT": "<script>"}, 400),
        ({"PLACEMENT": "CRM_QUOTE_DETAIL_TAB"}, 400),
        ({"PLACEMENT": "SOMETHING_NEW"}, 400),
        ({"AUTH_ID": "x" * 600}, 400),
        ({"AUTH_EXPIRES": "never"}, 400),
    ],
)
def test_forged_and_incomplete_posts_get_a_short_page(
    app: Flask, manager: Actor, path: str, form: dict[str, str], status: int
) -> None:
    before = counts(app)
    post = fitting(manager.launches(), path)
    response = post_frame(manager.client, path, changed(post, **form))
    assert response.status_code == status, response.text
    assert TICKET not in response.text
    assert "frame-ancestors" in response.headers["Content-Security-Policy"]
    assert counts(app) == before


@pytest.mark.parametrize("path", PAGES)
def test_nothing_is_sent_to_an_address_of_the_post(
    manager: Actor, fake: FakeBitrix24, application: FakeApp, path: str
) -> None:
    canary = fake.add_portal("canary")
    forged = {"DOMAIN": canary.domain, "SERVER_ENDPOINT": f"{canary.url}/rest/"}
    launch = fitting(manager.launches(), path)
    post_frame(manager.client, path, changed(launch, **forged))
    unknown = changed(launch, member_id=canary.member_id, **forged)
    assert post_frame(manager.client, path, unknown).status_code == 403
    assert canary.requests == []


def test_a_portal_that_fell_silent_is_vouched_for_by_the_authorization_server(
    manager: Actor, portal: FakePortal
) -> None:
    portal.faults.add("html_502", "batch", times=5)
    response = manager.opens()
    assert response.status_code == 200
    assert TICKET in response.text


def test_a_redirect_that_the_authorization_server_does_not_confirm_is_not_followed(
    manager: Actor, portal: FakePortal
) -> None:
    portal.faults.add("moved", "batch", host="127.0.0.9:1")
    response = manager.opens()
    assert response.status_code == 200
    assert f"frame-ancestors {portal.url}" in response.headers["Content-Security-Policy"]


def test_a_dismissed_user_opens_nothing(manager: Actor, portal: FakePortal) -> None:
    portal.manager.dismissed = True
    response = post_frame(manager.client, "/", manager.launches())
    assert response.status_code == 403
    assert TICKET not in response.text


def test_when_nobody_can_be_asked_it_is_said_so(manager: Actor, portal: FakePortal, fake: FakeBitrix24) -> None:
    portal.faults.add("html_502", "batch")
    fake.auth_server.faults.add("html_502", "app.info", times=2)
    response = post_frame(manager.client, "/", manager.launches())
    assert response.status_code == 503
    assert "Bitrix24 does not answer" in response.text


def test_an_administrators_visit_repairs_a_lost_installation(
    app: Flask, administrator: Actor, portal: FakePortal
) -> None:
    portal.install(administrator.application)
    portal.finish_installation(administrator.application)
    visitor = Actor(administrator.client, portal, administrator.application, portal.manager)
    refused = post_frame(visitor.client, "/", visitor.launches())
    assert (refused.status_code, TICKET in refused.text) == (403, False)
    assert administrator.opens().status_code == 200
    assert counts(app)[0] == 1


def test_an_on_premise_portal_without_application_token_works(administrator: Actor, portal: FakePortal) -> None:
    portal.sends_application_token = False
    assert administrator.installs().status_code == 200
    assert administrator.opens().status_code == 200


def test_a_session_is_renewed_for_the_same_place(manager: Actor, portal: FakePortal) -> None:
    lead = portal.crm.add_lead("Lead", "Clara", ["+49 30 901820"])
    post = manager.launches("CRM_LEAD_DETAIL_TAB", ID=str(lead))
    response = post_frame(manager.client, "/session", post)
    assert response.status_code == 200
    body = json.loads(response.text)
    assert set(body) == {"ticket", "expires_at"}
    manager.ticket = body["ticket"]
    assert manager.asks("GET", "/callbacks").status_code == 200


@pytest.mark.parametrize("path", ["/", "/install", "/placement"])
def test_a_stranger_learns_what_the_app_is(client: FlaskClient, path: str) -> None:
    assert client.head(path).status_code == 200
    response = client.get(path)
    assert response.status_code == 200
    assert "works inside Bitrix24 only" in response.text
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
    russian = client.get(path, headers={"Accept-Language": "ru"}).text
    assert "только внутри Битрикс24" in russian


@pytest.mark.parametrize("path", ["/legal/terms", "/legal/privacy", "/support"])
def test_the_legal_pages_are_readable(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert len(response.text) > 500


@rows_in_one_world("path", ["/", "/install", "/placement", "/events", "/session", "/api/v1/callbacks"])
@rows_in_one_world(
    ("body", "content_type", "statuses"),
    [
        (b"x" * 10_000_000, "application/x-www-form-urlencoded", {413, 401}),
        (b"{" * 100_000, "application/json", {400, 401}),
        (b"AUTH_ID=%ff%fe&member_id=%00", "application/x-www-form-urlencoded", {400, 401}),
        (b"a=%ff&" * 40_000, "application/x-www-form-urlencoded", {400, 401}),
        (b"a[b][c][d][e][f]=1", "application/x-www-form-urlencoded", {400, 401}),
        (b"\xff\xd8\xff", "image/jpeg", {400, 401}),
        (b"--x\r\nbroken", "multipart/form-data; boundary=x", {400, 401}),
        (b"", "", {400, 401}),
    ],
)
def test_any_body_gets_an_answer_that_explains(
    client: FlaskClient, path: str, body: bytes, content_type: str, statuses: set[int]
) -> None:
    response = client.post(path, data=body, content_type=content_type)
    assert response.status_code in statuses, response.text
    assert len(response.text) > 50


def test_a_huge_body_is_refused_behind_a_ticket_too(manager: Actor) -> None:
    response = manager.asks("POST", "/callbacks", {"text": "x" * 1_000_000})
    assert (response.status_code, response.content_type) == (413, "application/problem+json")


def test_pages_that_do_not_exist_say_so(client: FlaskClient) -> None:
    assert client.get("/nothing").status_code == 404
    assert "There is no such page" in client.get("/nothing").text
    assert client.get("/api/v1/nothing").content_type == "application/problem+json"
    assert client.put("/").status_code == 405


def test_static_files_may_be_kept_for_ever(manager: Actor) -> None:
    found = re.search(r'href="(/static/[0-9a-f]{12}/style\.css)"', manager.opens().text)
    assert found
    with manager.client.get(found[1]) as response:
        assert "immutable" in response.headers["Cache-Control"]
        assert "max-age=31536000" in response.headers["Cache-Control"]


@pytest.mark.parametrize("name", ["style.css", "frame.js", "icon.svg"])
def test_a_file_of_another_version_is_ours_and_not_kept(client: FlaskClient, name: str) -> None:
    """A page of the next version may ask the last process of this one; it would be wrong for a year."""
    with client.get(f"/static/{'f' * 12}/{name}") as response:
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "no-cache"


def test_names_that_no_database_keeps_are_kept_without_it(manager: Actor, portal: FakePortal) -> None:
    portal.manager.name = "Max\0imilian"
    portal.lines["reg150907"].name = "Sales\0 line"
    manager.asks("GET", "/lines?refresh=1")
    assert manager.opens().status_code == 200
    assert manager.requests_callback().status_code == 201
    page = manager.opens().text
    assert "Maximilian" in page
    assert "Sales line" in page


@pytest.mark.parametrize("path", ["/", "/placement", "/install"])
@pytest.mark.parametrize(
    ("protocol", "domain"),
    [("1", None), ("0", "crm.example.com"), ("0", "192.0.2.7:8080"), ("0", "[2001:db8::1]"), ("0", "a..b")],
    ids=["another scheme", "another name", "an address", "IPv6", "no name"],
)
def test_a_portal_that_is_open_at_another_address_says_so_instead_of_staying_blank(
    manager: Actor, administrator: Actor, portal: FakePortal, path: str, protocol: str, domain: str | None
) -> None:
    launch = fitting(administrator.launches(), path)
    domain = domain or launch.query["DOMAIN"]
    response = post_frame(administrator.client, path, changed(launch, DOMAIN=domain, PROTOCOL=protocol))
    assert response.status_code == 409
    assert "This Bitrix24 is open at another address" in response.text
    assert portal.url in response.text
    assert f"{'https' if protocol == '1' else 'http'}://{domain}" in response.text
    assert TICKET not in response.text
    assert "frame-ancestors https: http:" in response.headers["Content-Security-Policy"]


def test_its_own_address_may_be_written_in_another_way(manager: Actor) -> None:
    launch = manager.launches()
    assert post_frame(manager.client, "/", changed(launch, DOMAIN=launch.query["DOMAIN"].upper())).status_code == 200
