"""Every page that the app has, opened one after another in a browser, as its people open it.

Pages of a portal's frame are opened by the portal's own post, as wide as the window, so that a width is the frame's.
"""

from collections.abc import Callable
from dataclasses import dataclass

from playwright.sync_api import Page, expect

from tests.fake_bitrix24 import LaunchPost
from tests.support.actors import Actor
from tests.support.busy_portal import Company

WIDTHS = (1280, 846, 600, 360)
# What tells that a page is not at rest yet.
BUSY = (
    ".progress:not(#progress):visible, .skeleton, main[inert], #call:disabled, .first-run [data-body] > h2:only-child"
)
TABS = ("look", "questions", "hours", "calling", "protection", "crm", "site", "developers")
SETTINGS = (
    "calls",
    "hours",
    "people",
    "smart-processes",
    "notifications",
    "do-not-call",
    "privacy",
    "check",
    "log",
    "journal",
)


@dataclass(frozen=True)
class Tour:
    """Somebody with a browser who looks at a whole company: an administrator, and a manager."""

    page: Page
    administrator: Actor
    manager: Actor
    company: Company
    url: str

    def posts(self, launch: LaunchPost) -> None:
        """Open what a portal's frame posts."""
        self.page.goto("about:blank")
        self.page.evaluate(
            """([url, fields]) => {
                const form = Object.assign(document.createElement("form"), { method: "post", action: url });
                for (const [name, value] of Object.entries(fields))
                    form.append(Object.assign(document.createElement("input"), { name, value }));
                document.body.append(form);
                form.submit();
            }""",
            [launch.url, launch.form],
        )
        self.page.wait_for_url(f"{self.url}/**")
        self.rests()

    def opens(self, who: Actor, placement: str = "DEFAULT", **options: str) -> None:
        """Open a place of the portal as somebody."""
        self.posts(who.launches(placement, **options))

    def goes(self, path: str) -> None:
        """Follow an address inside of the desk."""
        # The same view may be shown with other filters: only what comes says where it is.
        self.page.evaluate("path => { main.dataset.path = ''; location.hash = `#/${path}`; }", path)
        expect(self.page.locator("#main")).to_have_attribute("data-path", path.partition("?")[0])
        self.rests()

    def rests(self) -> None:
        """Wait until nothing is on its way."""
        # A preview of a form is a page of its own, in a shadow root.
        expect(self.page.locator("css:light=h1")).to_have_count(1)
        expect(self.page.locator(BUSY)).to_have_count(0)

    def speaks(self, language: str) -> None:
        """Let both people have chosen a language in their portal."""
        self.administrator.user.language = self.manager.user.language = language


@dataclass(frozen=True)
class Stop:
    """One view, and what is unfolded in it."""

    name: str
    opens: Callable[[Tour], object]


def _desk_of(who: str) -> Callable[[Tour], object]:
    return lambda tour: tour.opens(getattr(tour, who))


def _goes(path: str, *presses: tuple[str, str]) -> Callable[[Tour], object]:
    """Go to a view and press one thing after another; each is named with what appears then."""

    def opens(tour: Tour) -> None:
        callbacks = tour.company.callbacks
        ids = {name.partition(" ")[0]: id for name, id in callbacks.items()}
        tour.goes(path.format(key=tour.company.form_key, long=callbacks[max(callbacks, key=len)], **ids))
        for pressed, appears in presses:
            tour.page.locator(f"{pressed}:visible").first.click()
            expect(tour.page.locator(appears).first).to_be_visible()
        tour.rests()

    return opens


def _unfolds_everything(path: str) -> Callable[[Tour], object]:
    def opens(tour: Tour) -> None:
        _goes(path)(tour)
        folded = tour.page.locator("details:not([open]) > summary:visible")
        while folded.count():
            folded.first.click()

    return opens


def _card(placement: str, **options: str) -> Callable[[Tour], object]:
    def opens(tour: Tour) -> None:
        given = {name: value.format(lead=tour.company.lead) for name, value in options.items()}
        tour.opens(tour.manager, placement, **given)

    return opens


def _visits(path: str) -> Callable[[Tour], object]:
    def opens(tour: Tour) -> None:
        company = tour.company
        tour.page.goto(tour.url + path.format(key=company.form_key, status=company.status_url.partition("/c/")[2]))
        tour.rests()

    return opens


def _looks_on(others: str) -> Callable[[Tour], object]:
    """The manager's page while nobody but administrators may call."""

    def opens(tour: Tour) -> None:
        tour.administrator.opens()
        everybody = {"roles": {"operators": {"everybody": True}, "others": "view"}}
        assert tour.administrator.lets_call([tour.administrator.user.id], others=others).status_code == 200
        tour.opens(tour.manager)
        assert tour.administrator.asks("PATCH", "/settings", everybody).status_code == 200

    return opens


def _is_not_recognised(tour: Tour) -> None:
    tour.manager.user.dismissed = True
    tour.opens(tour.manager)
    tour.manager.user.dismissed = False


def _installs(tour: Tour) -> None:
    """The page that a portal shows once; it stays, for no portal is around it."""
    tour.posts(tour.administrator.portal.install(tour.administrator.application))


OF_THE_DESK = (
    Stop("callbacks", _desk_of("administrator")),
    Stop(
        "callbacks-in-use",
        _goes(
            "callbacks?quick=all",
            ("[data-action=filter]", "[data-filter-form]"),
            ("[data-rows] [data-pick]", "[data-bulk]"),
        ),
    ),
    Stop("callbacks-menu", _goes("callbacks?quick=scheduled", ("[data-rows] [data-action=menu]", "[role=menu]"))),
    Stop("callbacks-question", _goes("callbacks?quick=attention", ("[data-rows] [data-action=ask]", ".outcomes"))),
    Stop("callbacks-nothing", _goes("callbacks?q=nobody")),
    Stop(
        "callbacks-later", _goes("callbacks", ("#later", "#scheduled_at"), ("[data-action=columns]", "#list-columns"))
    ),
    Stop("callback-repeats", _goes("callbacks/{Jean}?quick=all")),
    Stop("callback-unknown", _goes("callbacks/{Oliver}?quick=attention", ("[data-action=ask]", ".outcomes"))),
    Stop("callback-talked", _unfolds_everything("callbacks/{Marta}?quick=all")),
    Stop("callback-long-name", _goes("callbacks/{long}")),
    Stop("reports", _goes("reports")),
    Stop("websites", _goes("websites", ("[data-action=snippet]", "[data-snippet]"))),
    *(Stop(f"form-{tab}", _goes(f"websites/{{key}}/{tab}")) for tab in TABS),
    Stop("rejected", _goes("websites/rejected")),
    Stop("developers", _goes("websites/developers")),
    *(Stop(f"settings-{page}", _goes(f"settings/{page}")) for page in SETTINGS),
)
OF_OTHERS = (
    Stop("operator", _desk_of("manager")),
    Stop("viewer", _looks_on("view")),
    Stop("no-access", _looks_on("none")),
    Stop("not-recognised", _is_not_recognised),
    Stop("crm-tab", _card("CRM_LEAD_DETAIL_TAB", ID="{lead}")),
    Stop("crm-plan", _card("CRM_LEAD_DETAIL_ACTIVITY", ID="{lead}")),
    Stop("call-card", _card("CALL_CARD", PHONE_NUMBER="+493023125001", CALL_DIRECTION="callback")),
    Stop("form", _visits("/w/{key}")),
    Stop("status", _visits("/c/{status}")),
    *(
        Stop(path.rpartition("/")[2] or "about", _visits(path))
        for path in ("/", "/support", "/legal/privacy", "/legal/terms")
    ),
    Stop("install", _installs),
)
EVERY_STOP = (*OF_THE_DESK, *OF_OTHERS)
