"""The portal in a browser: menu, CRM cards, the application's frame, and the phones on screen.

The frame and its messages follow what is known of the portal's own page (docs: sdk/bx24-js-sdk; the JS SDK).
"""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Response, abort, jsonify, redirect, render_template, request, send_from_directory
from werkzeug.wrappers import Response as AnyResponse

from tests.fake_bitrix24.faults import CONDITIONS
from tests.fake_bitrix24.people import FakeUser
from tests.fake_bitrix24.registry import FakeApp

if TYPE_CHECKING:
    from tests.fake_bitrix24.installation import LaunchPost
    from tests.fake_bitrix24.portal import FakePortal

STATIC = Path(__file__).parent / "static"
KINDS = {"lead": "LEAD", "deal": "DEAL", "contact": "CONTACT", "company": "COMPANY"}
TYPE_IDS = {"lead": 1, "deal": 2, "contact": 3, "company": 4}
SIGNED_IN = "fake_portal_user"


class PortalPage:
    """The routes of one portal's page."""

    def __init__(self, portal: "FakePortal") -> None:
        self._portal = portal
        self._first_runs: set[tuple[str, int]] = set()
        route = portal.server.app.add_url_rule
        route("/", "home", self._home)
        route("/favicon.ico", "favicon", lambda: Response(status=204))
        route("/static/<name>", "static", lambda name: send_from_directory(STATIC, name))
        route("/sign-in", "sign_in", self._sign_in, methods=["POST"])
        route("/marketplace/app/<client_id>/", "app", self._app)
        route("/marketplace/view/<code>/", "link", self._link)
        route("/frame/open-application/<client_id>", "slider", self._slider, methods=["POST"])
        route("/crm/<kind>/details/<int:id>/", "card", self._card)
        route("/crm/<kind>/details/<int:id>/timeline", "timeline", self._timeline)
        route("/crm/activity/<int:id>/press", "press", self._press, methods=["POST"])
        route("/crm/type/<int:type_id>/details/<int:id>/", "item", self._item)
        route("/crm/<kind>/list/", "list", self._list)
        route("/crm/activity/", "activities", self._activities)
        route("/frame/install-finish/<client_id>", "finish", self._finish, methods=["POST"])
        route("/frame/refresh-auth/<client_id>", "refresh", self._refresh, methods=["POST"])
        route("/demo/condition", "condition", self._set_condition, methods=["POST"])
        route("/demo/phones", "phones", self._phones)
        route("/demo/phones/<call_id>/<action>", "act", self._act, methods=["POST"])

    def _user(self) -> FakeUser:
        id = request.args.get("user") or request.cookies.get(SIGNED_IN, "")
        known = self._portal.users.get(int(id)) if id.isdigit() else None
        return known or self._portal.administrator

    def _sign_in(self) -> AnyResponse:
        response = redirect(request.form.get("back") or "/")
        response.set_cookie(SIGNED_IN, request.form["user"], samesite="Lax")
        return response

    def _render(self, template: str, **context: Any) -> Response:
        portal, user = self._portal, self._user()
        page = render_template(
            template,
            portal=portal,
            user=user,
            apps=list(portal.cloud.registry.apps.values()),
            leads=portal.crm.entities["LEAD"],
            deals=portal.crm.entities["DEAL"],
            guide=portal.guide,
            conditions=list(CONDITIONS),
            **context,
        )
        response = Response(page, content_type="text/html; charset=utf-8")
        if request.args.get("user"):
            response.set_cookie(SIGNED_IN, str(user.id), samesite="Lax")
        return response

    def _home(self) -> Response:
        return self._render("home.html", notifications=self._portal.reminders.of(self._user().id))

    def _launch(self, app: FakeApp, post: "LaunchPost", *, install: bool) -> str:
        """Everything that the page's script needs to open a frame and to answer it."""
        user = self._user()
        first = (app.client_id, user.id) not in self._first_runs
        self._first_runs.add((app.client_id, user.id))
        options = post.form.get("PLACEMENT_OPTIONS")
        return json.dumps(
            {
                **asdict(post),
                "url": post.url,
                "clientId": app.client_id,
                "install": install,
                "firstRun": first,
                "isAdmin": user.admin,
                "options": json.loads(options) if options else "",
            }
        )

    def _app(self, client_id: str) -> Response:
        app = self._portal.cloud.registry.apps.get(client_id) or abort(404)
        user = self._user()
        if self._portal.is_finished(client_id):
            options = {"IFRAME": "N", "URI": request.path}
            launch = self._launch(app, self._portal.launch(app, user, "DEFAULT", options), install=False)
            return self._render("app.html", app=app, launch=launch, problem="")
        if not user.admin:
            problem = "The application is not fully installed. Contact your Bitrix24 administrator."
            return self._render("app.html", app=app, launch="", problem=problem)
        return self._render("app.html", app=app, problem="", launch=self._installing(app, user))

    def _link(self, code: str) -> Response:
        """A link to a place inside an application (docs: api-reference/widgets/universal/app-url.md)."""
        app = next((app for app in self._portal.cloud.registry.apps.values() if app.code == code), None) or abort(404)
        named = re.compile(r"params\[(\w+)\]")
        options = {found[1]: value for name, value in request.args.items() if (found := named.fullmatch(name))}
        launch = self._launch(app, self._portal.launch(app, self._user(), "REST_APP_URI", options), install=False)
        return self._render("app.html", app=app, launch=launch, problem="")

    def _slider(self, client_id: str) -> Response:
        """The application's main page in a slider (docs: sdk/bx24-js-sdk/additional-functions, openApplication)."""
        app = self._portal.cloud.registry.apps[client_id]
        given: dict[str, object] = request.get_json()
        options = {name: str(value) for name, value in given.items() if not name.startswith("bx24_")}
        post = self._portal.launch(app, self._user(), "DEFAULT", options)
        return Response(self._launch(app, post, install=False), content_type="application/json")

    def _installing(self, app: FakeApp, user: FakeUser) -> str:
        return self._launch(app, self._portal.install(app, by=user), install=True)

    def _bound(self, placement: str) -> list[tuple[FakeApp, str]]:
        """The applications that have bound a placement, each with its title there."""
        finished = [app for app in self._portal.cloud.registry.apps.values() if self._portal.is_finished(app.client_id)]
        rows = [(app, row) for app in finished for row in self._portal.bindings_of(app.client_id).placements]
        return [(app, row["title"]) for app, row in rows if row["placement"] == placement]

    def _opened(self, placement: str, options: dict[str, str]) -> str:
        """What the first application at a placement is opened with; empty where nobody has bound it."""
        for app, _ in self._bound(placement)[:1]:
            post = self._portal.launch(app, self._user(), placement, {**options, "URI": request.path})
            return self._launch(app, post, install=False)
        return ""

    def _list(self, kind: str) -> Response:
        """A list of the CRM; an item of a row's menu opens a slider (docs: api-reference/widgets/crm/list-menu.md)."""
        placement, id = f"CRM_{KINDS.get(kind) or abort(404)}_LIST_MENU", request.args.get("menu", "")
        return self._show_list(placement, id, self._portal.crm.entities[KINDS[kind]])

    def _activities(self) -> Response:
        """The list of activities, whose rows have a menu too."""
        rows = {id: {"TITLE": row["SUBJECT"]} for id, row in self._portal.crm.activities.items()}
        return self._show_list("CRM_ACTIVITY_LIST_MENU", request.args.get("menu", ""), rows)

    def _show_list(self, placement: str, id: str, rows: dict[int, dict[str, Any]]) -> Response:
        launch = self._opened(placement, {"ID": id}) if id else ""
        items = [title for _, title in self._bound(placement)]
        return self._render("list.html", rows=rows, items=items, launch=launch)

    def _card(self, kind: str, id: int) -> Response:
        entity = self._portal.crm.find(KINDS.get(kind) or abort(404), id) or abort(404)
        return self._show_card(KINDS[kind], TYPE_IDS[kind], id, entity)

    def _item(self, type_id: int, id: int) -> Response:
        """A card of a smart process."""
        item = self._portal.crm.item(type_id, id) or abort(404)
        return self._show_card(f"DYNAMIC_{type_id}", type_id, id, {"TITLE": item["title"]})

    def _show_card(self, kind: str, type_id: int, id: int, entity: dict[str, Any]) -> Response:
        """A card: tabs, the menu "More" above the timeline, and activities with a menu of their own."""
        tab, more, menu = f"CRM_{kind}_DETAIL_TAB", f"CRM_{kind}_DETAIL_ACTIVITY", f"CRM_{kind}_ACTIVITY_TIMELINE_MENU"
        tabs, wanted = self._bound(tab), request.args.get("tab", "")
        launch = ""
        if any(wanted == app.client_id for app, _ in tabs):
            launch = self._opened(tab, {"ID": str(id)})
        elif "more" in request.args:
            launch = self._opened(more, {"ID": str(id)})
        elif activity := request.args.get("activity", ""):
            named = {"ENTITY_ID": str(id), "ASSOCIATED_ENTITY_ID": activity, "ASSOCIATED_ENTITY_TYPE_ID": "6"}
            launch = self._opened(menu, named)
        owner = (str(type_id), str(id))
        activities = self._portal.crm.activities.values()
        return self._render(
            "card.html",
            entity=entity,
            tabs=tabs,
            wanted=wanted,
            launch=launch,
            to_dos=self._portal.reminders.on_card(type_id, id),
            timeline=f"/crm/{kind.lower()}/details/{id}/timeline" if kind in KINDS.values() else "",
            buttons=[title for _, title in self._bound(more)],
            menu=[title for _, title in self._bound(menu)],
            activities=[row for row in activities if (row["OWNER_TYPE_ID"], row["OWNER_ID"]) == owner],
        )

    def _timeline(self, kind: str, id: int) -> Response:
        """The activities of a card as its page draws them (docs: configurable/structure)."""
        found = self._portal.timeline.of_card(KINDS.get(kind) or abort(404), id)
        return jsonify([{**asdict(one), "completed": one.is_completed, "texts": one.texts()} for one in found])

    def _press(self, id: int) -> Response:
        self._portal.timeline.press(id, request.form["label"], self._user())
        return Response(status=204)

    def _finish(self, client_id: str) -> Response:
        if self._user().admin:
            self._portal.finish_installation(self._portal.cloud.registry.apps[client_id])
        return Response(status=204)

    def _refresh(self, client_id: str) -> Response:
        token = self._portal.cloud.registry.issue(client_id, self._portal.member_id, self._user().id)
        return jsonify({"AUTH_ID": token.access, "AUTH_EXPIRES": "3600", "REFRESH_ID": token.refresh})

    def _set_condition(self) -> AnyResponse:
        wanted = request.form["condition"]
        self._portal.faults.condition = wanted if wanted in CONDITIONS else abort(400)
        return redirect(request.form.get("back") or "/")

    def _phones(self) -> Response:
        calls = [call for call in self._portal.telephony.calls if call.state != "ended"]
        lines = self._portal.lines
        return jsonify(
            [
                {
                    "id": call.call_id,
                    "state": call.state,
                    "line": lines[call.line].name if call.line in lines else call.line,
                    "number": call.number,
                    "text": call.text,
                }
                for call in calls
            ]
        )

    def _act(self, call_id: str, action: str) -> Response:
        actions = {
            "manager-answers": "manager_answers",
            "manager-refuses": "manager_refuses",
            "customer-answers": "customer_answers",
            "customer-refuses": "customer_refuses",
            "hang-up": "hang_up",
        }
        try:
            getattr(self._portal.telephony.find(call_id), actions[action])()
        except (KeyError, ValueError):
            return Response(status=409)
        return Response(status=204)
