"""What people and portals write stays text, and only the portal frames its pages."""

from flask import Flask
from sqlalchemy import update

from bx24app.database import writing
from bx24app.models import Callback
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor

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
