"""What people and portals write stays text, and only the portal frames its pages."""

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from bx24app.bitrix24.telephony import callback_parameters, speakable
from bx24app.database import reading, writing
from bx24app.models import Callback, Form, PortalSettings
from tests.conftest import Eventually, working
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor, json_of
from tests.support.visitors import Visitor
from tests.support.websites import BackEnd

EVIL = "<script>alert(1)</script>{{7*7}}{%raw%}\"'><img src=x onerror=alert(1)>"


def test_markup_and_templates_in_any_field_stay_text(
    app: Flask, manager: Actor, administrator: Actor, portal: FakePortal
) -> None:
    portal.manager.name = portal.manager.last_name = EVIL
    portal.lines["reg150907"].name = EVIL
    portal.voices["evil"] = EVIL
    lead = portal.crm.add_lead(EVIL, EVIL, ["+49 30 901820", EVIL])
    manager.asks("GET", "/lines?refresh=1")
    manager.asks("GET", "/voices?refresh=1")
    portal.faults.add("error", "voximplant.line.get", code=EVIL[:40], words=EVIL)
    manager.asks("GET", "/lines?refresh=1")
    manager.requests_callback(text=EVIL[:200], crm_entity={"type": "LEAD", "id": lead})
    with app.app_context(), writing() as session:
        session.execute(update(Callback).values(state="failed", reason="portal_refused", words=EVIL))
    administrator.opens()
    pages = [
        manager.opens("CRM_LEAD_DETAIL_TAB", ID=str(lead)).text,
        administrator.opens().text,
        *(
            administrator.client.get(path, headers={"Authorization": f"Bearer {administrator.ticket}"}).text
            for path in ("/desk/callbacks", "/desk/check", "/desk/requests")
        ),
    ]
    for page in pages:
        assert "<script>alert" not in page
        assert "onerror=alert(1)>" not in page
    assert any("{{7*7}}" in page for page in pages)


def test_a_verified_page_may_be_framed_by_its_portal_only(manager: Actor, portal: FakePortal) -> None:
    policy = manager.opens().headers["Content-Security-Policy"]
    assert policy.endswith(f"frame-ancestors {portal.url}")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in manager.asks("GET", "/lines").headers["Content-Security-Policy"]


SPEECH = "<speak>A&amp;B <break time='60s'/>\u202e</speak>"


@pytest.mark.parametrize("door", ["staff", "default text", "form's text", "visitor's name", "website's server"])
def test_no_markup_is_spoken_and_what_was_written_is_kept(
    app: Flask, administrator: Actor, visitor: Visitor, portal: FakePortal, eventually: Eventually, door: str
) -> None:
    if door == "staff":
        assert administrator.requests_callback(text=SPEECH).status_code == 201
    elif door == "default text":
        with app.app_context(), writing() as session:
            session.execute(update(PortalSettings).values(default_text=SPEECH))
        assert administrator.requests_callback().status_code == 201
    elif door == "form's text":
        with app.app_context(), writing() as session:
            session.execute(update(Form).values(text=SPEECH))
        assert visitor.asks().status_code == 202
    elif door == "visitor's name":
        assert visitor.asks(name=SPEECH).status_code == 202
    else:
        key = json_of(administrator.asks("POST", "/api-keys", {"form_key": visitor.form_key, "name": "shop"}))
        assert BackEnd(administrator.client, key).requests_callback(text=SPEECH).status_code == 201
    with working(app):
        eventually(lambda: len(portal.telephony.dials) == 1)
    [dialled] = portal.telephony.dials
    assert set("<>&").isdisjoint(dialled["text"])
    assert "A+amp;B" in dialled["text"]
    assert "break time='60s'" in dialled["text"]
    with app.app_context(), reading() as session:
        assert "<speak>A&amp;B" in session.scalars(select(Callback.text)).one()


@given(st.text(max_size=300))
def test_whatever_is_spoken_is_one_line_without_markup(text: str) -> None:
    spoken = callback_parameters("reg1", "+49", text, None)["TEXT_TO_PRONOUNCE"]
    assert spoken == speakable(spoken)
    assert set("<>&").isdisjoint(spoken)
    assert spoken.isprintable()
    assert len(spoken) <= len(text)
    assert all(char in spoken for char in text if char.isalnum())
