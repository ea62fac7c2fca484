"""More doors of the portal: planning a call in a card, calling an activity's number again, cards of smart processes."""

import json
import re
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from bx24app.bitrix24.frame_post import FramePost
from bx24app.bitrix24.place import LaunchPlace, place_of
from bx24app.database import reading
from bx24app.models import Callback, Portal, utcnow
from bx24app.services import diagnostics
from bx24app.services.portals import bindings, uninstall
from bx24app.services.portals.manifest import manifest
from tests.fake_bitrix24 import FakeApp, FakePortal
from tests.support.actors import CUSTOMER, Actor, json_of
from tests.support.tables import rows_in_one_world

TEN, ELEVEN = "+49 30 901825", "+49 30 901821"
REPAIRS = 1042


def codes(portal: FakePortal, application: FakeApp) -> set[str]:
    return {row["placement"] for row in portal.bindings_of(application.client_id).placements}


def bound(app: Flask) -> None:
    with app.app_context():
        assert bindings.rebind_due() == 1


def checked(app: Flask) -> dict[tuple[str, str], str]:
    with app.app_context():
        return {(one.check, one.about): str(dict(one.facts)) for one in diagnostics.examine_portal(1)}


PLACES = [
    ("CRM_LEAD_DETAIL_ACTIVITY", {"ID": "8"}, ("LEAD", 8, 0, True)),
    ("CRM_DEAL_ACTIVITY_TIMELINE_MENU", {"ENTITY_ID": "8", "ASSOCIATED_ENTITY_ID": "97"}, ("DEAL", 8, 97, False)),
    (
        "CRM_LEAD_ACTIVITY_TIMELINE_MENU",
        {"ENTITY_ID": "8", "ASSOCIATED_ENTITY_ID": "97", "ASSOCIATED_ENTITY_TYPE_ID": "6"},
        ("LEAD", 8, 97, False),
    ),
    # A record of the timeline that is no activity has an id of something else.
    (
        "CRM_LEAD_ACTIVITY_TIMELINE_MENU",
        {"ENTITY_ID": "8", "ASSOCIATED_ENTITY_ID": "97", "ASSOCIATED_ENTITY_TYPE_ID": "2"},
        ("LEAD", 8, 0, False),
    ),
    ("CRM_ACTIVITY_LIST_MENU", {"ID": "97"}, ("", 0, 97, False)),
    ("CRM_DYNAMIC_1042_DETAIL_TAB", {"ID": "8"}, ("DYNAMIC_1042", 8, 0, False)),
    # Whatever a visitor makes of the post.
    ("CRM_DYNAMIC_1042_DETAIL_TAB", {"ID": "8; DROP"}, ("", 0, 0, False)),
    ("CRM_DYNAMIC_0_DETAIL_TAB", {"ID": "8"}, ("", 0, 0, False)),
    ("CRM_DYNAMIC_9999999999_DETAIL_TAB", {"ID": "8"}, ("", 0, 0, False)),
    ("CRM_ACTIVITY_LIST_MENU", {"ID": "undefined"}, ("", 0, 0, False)),
    ("CRM_ACTIVITY_LIST_MENU", {"ID": "1" * 30}, ("", 0, 0, False)),
    ("CRM_LEAD_ACTIVITY_TIMELINE_MENU", {"ENTITY_ID": "-1", "ASSOCIATED_ENTITY_ID": "97"}, ("", 0, 0, False)),
    ("CRM_LEAD_ACTIVITY_TIMELINE_MENU", {"ENTITY_ID": "8", "ASSOCIATED_ENTITY_ID": "٣"}, ("LEAD", 8, 0, False)),
]


@pytest.mark.parametrize(("placement", "options", "expected"), PLACES)
def test_places_are_read_from_what_the_documentation_shows(
    placement: str, options: dict[str, str], expected: tuple[str, int, int, bool]
) -> None:
    post = FramePost(DOMAIN="a.b", member_id="0" * 32, PLACEMENT=placement, PLACEMENT_OPTIONS=json.dumps(options))
    place: LaunchPlace = place_of(post)
    assert (place.entity_type, place.entity_id, place.activity_id, place.is_planning) == expected


def test_a_call_is_planned_above_the_timeline_of_every_card(manager: Actor, portal: FakePortal) -> None:
    contact = portal.crm.add_contact("Marta", "Keller", [TEN])
    cards = {
        "LEAD": portal.crm.add_lead("Lead", "Clara", [TEN]),
        "CONTACT": contact,
        "COMPANY": portal.crm.add_company("Company", [TEN]),
        "DEAL": portal.crm.add_deal("Deal", contact),
    }
    for kind, id in cards.items():
        page = manager.opens(f"CRM_{kind}_DETAIL_ACTIVITY", ID=str(id)).text
        assert "data-plans" in page
        assert f'value="{TEN}"' in page
        assert "data-plans" not in manager.opens(f"CRM_{kind}_DETAIL_TAB", ID=str(id)).text


def test_the_number_of_a_missed_call_stands_first(manager: Actor, portal: FakePortal) -> None:
    lead = portal.crm.add_lead("Roof", "Clara", [(TEN, "MOBILE")])
    missed = portal.crm.add_activity(1, lead, ELEVEN)
    options = {"ENTITY_ID": str(lead), "ASSOCIATED_ENTITY_ID": str(missed), "ASSOCIATED_ENTITY_TYPE_ID": "6"}
    page = manager.opens("CRM_LEAD_ACTIVITY_TIMELINE_MENU", **options).text
    assert page.index(ELEVEN) < page.index(TEN)
    assert f'data-entity-type="LEAD" data-entity-id="{lead}"' in page
    # An activity that is no call leaves the numbers of the card.
    mail = portal.crm.add_activity(1, lead, subject="Mail")
    assert f'value="{TEN}"' in manager.opens("CRM_LEAD_ACTIVITY_TIMELINE_MENU", **options | {
        "ASSOCIATED_ENTITY_ID": str(mail)}).text  # fmt: skip


@pytest.mark.parametrize("owner", [1, 2, 3, 4, REPAIRS])
def test_from_the_list_of_activities_the_card_is_the_activitys(
    app: Flask, manager: Actor, portal: FakePortal, owner: int
) -> None:
    crm = portal.crm
    company = crm.add_company("Sofa Ltd", [TEN])
    contact = crm.add_contact("Marta", "Keller", [TEN], company)
    crm.add_type(REPAIRS, "Repairs")
    id = {
        1: lambda: crm.add_lead("Roof", "Clara", [TEN]),
        2: lambda: crm.add_deal("Deal", contact),
        3: lambda: contact,
        4: lambda: company,
        REPAIRS: lambda: crm.add_item(REPAIRS, "Door", (contact,)),
    }[owner]()
    missed = crm.add_activity(owner, id, ELEVEN)
    page = manager.opens("CRM_ACTIVITY_LIST_MENU", ID=str(missed)).text
    kind = {1: "LEAD", 2: "DEAL", 3: "CONTACT", 4: "COMPANY", REPAIRS: f"DYNAMIC_{REPAIRS}"}[owner]
    assert f'data-entity-type="{kind}" data-entity-id="{id}"' in page
    assert page.index(ELEVEN) < page.index(TEN)
    made = manager.requests_callback(CUSTOMER, crm_entity={"type": kind, "id": id})
    assert made.status_code == 201, made.text
    assert json_of(made)["crm_entity"] == {"type": kind, "id": id}
    shown = manager.client.get(
        f"/desk/view/callbacks/{json_of(made)['id']}", headers={"Authorization": f"Bearer {manager.ticket}"}
    ).text
    place = f"type/{REPAIRS}" if owner == REPAIRS else kind.lower()
    assert f"/crm/{place}/details/{id}/" in shown


def test_an_activity_that_is_gone_or_closed_to_its_reader_is_a_clear_sentence(
    manager: Actor, portal: FakePortal
) -> None:
    lead = portal.crm.add_lead("Roof", "Clara", [TEN])
    missed = portal.crm.add_activity(1, lead, ELEVEN)
    gone = manager.opens("CRM_LEAD_ACTIVITY_TIMELINE_MENU", ENTITY_ID=str(lead), ASSOCIATED_ENTITY_ID="99999").text
    assert "The activity was deleted, or you may not see it." in gone
    assert f'value="{TEN}"' in gone
    assert "could not be read" not in gone
    for placement, options in (
        ("CRM_ACTIVITY_LIST_MENU", {"ID": "99999"}),
        ("CRM_ACTIVITY_LIST_MENU", {"ID": "undefined"}),
    ):
        assert manager.opens(placement, **options).status_code == 200
    # The launching person's access is used, and not that of the app.
    portal.manager.rights.clear()
    closed = manager.opens("CRM_ACTIVITY_LIST_MENU", ID=str(missed))
    assert (closed.status_code, ELEVEN in closed.text, TEN in closed.text) == (200, False, False)
    assert "The activity was deleted, or you may not see it." in closed.text


def test_smart_processes_are_chosen_from_what_the_portal_lists(
    app: Flask, administrator: Actor, manager: Actor, portal: FakePortal, application: FakeApp
) -> None:
    portal.crm.add_type(REPAIRS, "Repairs <b>")
    portal.crm.add_type(1050, "Stock", client=False)
    administrator.opens()
    headers = {"Authorization": f"Bearer {administrator.ticket}"}
    view = "/desk/view/settings/smart-processes"
    assert "data-unread" in administrator.client.get(view, headers=headers).text
    assert administrator.client.post("/desk/company/smart-processes", headers=headers).status_code == 204
    page = administrator.client.get(view, headers=headers).text
    assert f'value="{REPAIRS}"' in page
    assert "Repairs &lt;b&gt;" in page
    assert "Stock" not in page
    # Only what the portal lists with customers.
    for odd in ([1050], [7], [0], ["x"], list(range(1, 50)), "all"):
        assert administrator.asks("PATCH", "/settings", {"smart_processes": odd}).status_code == 400, odd
    saved = administrator.asks("PATCH", "/settings", {"smart_processes": [REPAIRS, REPAIRS]})
    assert json_of(saved)["smart_processes"] == [REPAIRS]
    bound(app)
    assert f"CRM_DYNAMIC_{REPAIRS}_DETAIL_TAB" in codes(portal, application)
    assert administrator.asks("PATCH", "/settings", {"smart_processes": []}).status_code == 200
    bound(app)
    assert codes(portal, application) == {one.code for one in manifest().placements}
    entries = administrator.client.get("/desk/view/settings/journal", headers=headers).text
    assert "Smart processes" in entries


def test_only_administrators_of_the_crm_are_told_of_smart_processes(
    administrator: Actor, manager: Actor, portal: FakePortal
) -> None:
    administrator.opens()
    headers = {"Authorization": f"Bearer {administrator.ticket}"}
    portal.faults.add("error", "crm.type.list", code="ACCESS_DENIED", status=400)
    answer = administrator.client.post("/desk/company/smart-processes", headers=headers)
    assert answer.status_code == 409
    assert "administrators of the CRM" in answer.text


@pytest.fixture
def chosen(app: Flask, administrator: Actor, manager: Actor, portal: FakePortal) -> FakePortal:
    """A portal whose cards of a smart process have our tab."""
    portal.crm.add_type(REPAIRS, "Repairs")
    administrator.opens()
    headers = {"Authorization": f"Bearer {administrator.ticket}"}
    assert administrator.client.post("/desk/company/smart-processes", headers=headers).status_code == 204
    assert administrator.asks("PATCH", "/settings", {"smart_processes": [REPAIRS]}).status_code == 200
    bound(app)
    return portal


def test_a_customer_is_called_from_a_card_of_a_smart_process(app: Flask, manager: Actor, chosen: FakePortal) -> None:
    contact = chosen.crm.add_contact("Marta", "Keller", [TEN])
    company = chosen.crm.add_company("Sofa Ltd", [ELEVEN])
    item = chosen.crm.add_item(REPAIRS, "Broken door", (contact,), company)
    page = manager.opens(f"CRM_DYNAMIC_{REPAIRS}_DETAIL_TAB", ID=str(item)).text
    assert "Broken door" in page
    assert re.search(rf"{re.escape(TEN)} \(work, Keller|{re.escape(TEN)} \(work, Marta Keller\)", page)
    assert page.index(TEN) < page.index(ELEVEN)
    entity = {"type": f"DYNAMIC_{REPAIRS}", "id": item}
    at = (utcnow() + timedelta(hours=2)).isoformat()
    assert manager.requests_callback(crm_entity=entity, scheduled_at=at).status_code == 201
    with app.app_context(), reading() as session:
        kept = session.scalars(select(Callback)).one()
        assert (kept.crm_entity_type, kept.crm_entity_id) == (entity["type"], item)
    assert str(kept.id) in manager.opens(f"CRM_DYNAMIC_{REPAIRS}_DETAIL_TAB", ID=str(item)).text
    for odd in ("DYNAMIC_", "DYNAMIC_0", "DYNAMIC_12345678901", "TASK"):
        assert manager.requests_callback(crm_entity={"type": odd, "id": 1}).status_code == 400, odd


GONE = "The card was deleted, or you may not see it."


def test_cards_that_are_gone_or_closed_and_types_that_are_not_chosen_are_said(
    manager: Actor, administrator: Actor, chosen: FakePortal
) -> None:
    tab = f"CRM_DYNAMIC_{REPAIRS}_DETAIL_TAB"
    assert GONE in manager.opens(tab, ID="404").text
    item = chosen.crm.add_item(REPAIRS, "Door", (chosen.crm.add_contact("Marta", "Keller", [TEN]),))
    chosen.manager.rights.clear()
    closed = manager.opens(tab, ID=str(item)).text
    assert GONE in closed
    assert TEN not in closed
    # What was bound before the choice changed, or a post of anybody's making.
    post = manager.launches(tab, ID=str(item))
    administrator.opens()
    assert administrator.asks("PATCH", "/settings", {"smart_processes": []}).status_code == 200
    refused = manager.client.post("/placement", query_string=post.query, data=post.form)
    assert refused.status_code == 403
    assert "not used in this smart process" in refused.text
    assert TEN not in refused.text


def test_the_setup_check_says_which_chosen_smart_process_has_no_tab(
    app: Flask, administrator: Actor, chosen: FakePortal
) -> None:
    assert not [key for key in checked(app) if key[0] == "smart_processes"]
    chosen.crm.types[REPAIRS]["isClientEnabled"] = "N"
    assert "Repairs" in checked(app)["smart_processes", "useless"]
    chosen.crm.delete_type(REPAIRS)
    assert "Repairs" in checked(app)["smart_processes", "gone"]
    page = administrator.client.get(
        "/desk/view/settings/smart-processes", headers={"Authorization": f"Bearer {administrator.ticket}"}
    ).text
    assert re.search(rf'value="{REPAIRS}" checked', page)
    # It stays chosen with the other settings, and can be taken out.
    assert administrator.asks("PATCH", "/settings", {"smart_processes": [REPAIRS]}).status_code == 200
    assert administrator.asks("PATCH", "/settings", {"smart_processes": None}).status_code == 200


def test_a_type_that_the_portal_will_not_take_is_kept_as_refused(
    app: Flask, administrator: Actor, manager: Actor, portal: FakePortal, application: FakeApp
) -> None:
    portal.crm.add_type(REPAIRS, "Repairs")
    administrator.opens()
    headers = {"Authorization": f"Bearer {administrator.ticket}"}
    administrator.client.post("/desk/company/smart-processes", headers=headers)
    administrator.asks("PATCH", "/settings", {"smart_processes": [REPAIRS]})
    kept = portal.crm.types.pop(REPAIRS)
    bound(app)
    with app.app_context(), reading() as session:
        missing = session.scalars(select(Portal.missing_parts)).one()["places"]
    assert [row["name"] for row in missing] == [f"CRM_DYNAMIC_{REPAIRS}_DETAIL_TAB"]
    portal.crm.types[REPAIRS] = kept
    assert ("smart_processes", "denied") in checked(app)


def test_the_list_of_a_removed_portal_goes(
    app: Flask, chosen: FakePortal, application: FakeApp, administrator: Actor
) -> None:
    chosen.uninstall(application, clean=False)
    chosen.events.wait_until_idle()
    with app.app_context():
        uninstall.confirm_removals()
        with reading() as session:
            portal = session.scalars(select(Portal)).one()
        assert (portal.missing_parts, portal.granted_scopes) == ({}, None)


@rows_in_one_world("placement", ["CRM_DYNAMIC_1042_LIST_MENU", "CRM_CONTACT_ACTIVITY_TIMELINE_MENU", "CRM_ACTIVITY_X"])
def test_a_placement_that_nobody_binds_opens_nothing(manager: Actor, placement: str) -> None:
    post = manager.launches("CRM_LEAD_DETAIL_TAB", ID="1")
    answer = manager.client.post("/placement", query_string=post.query, data={**post.form, "PLACEMENT": placement})
    assert answer.status_code == 400
