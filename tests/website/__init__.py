"""A company's own website, on another site than the app, with a strict policy: what the widget has to work on."""

import re
from pathlib import Path

from flask import Response, redirect, render_template_string, request
from werkzeug.wrappers import Response as AnyResponse

from tests.fake_bitrix24.server import Server

FOLDER = Path(__file__).parent
# For the app nothing but scripts and frames.
POLICY = (
    "default-src 'none'; script-src {app}; frame-src {app}; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; require-trusted-types-for 'script'"
)
ICON = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><circle cx="4" cy="4" r="4" fill="#e0a526"/></svg>'
FORM_ADDRESS = re.compile(r'src="(?P<form>(?P<app>https?://[^/"]+)/w/\w+)/widget\.js"')


class Website:
    """The site; ``snippet`` is what its owner has pasted into the page."""

    def __init__(self, host: str, port: int = 0) -> None:
        self.snippet = ""
        self.language = "en"
        self.policy = POLICY
        self.server = Server("website", host, port)
        route = self.server.app.add_url_rule
        route("/", "page", self._page)
        route("/snippet", "paste", self._paste, methods=["POST"])
        route("/style.css", "style", lambda: Response((FOLDER / "style.css").read_text(), content_type="text/css"))
        route("/icon.svg", "icon", lambda: Response(ICON, content_type="image/svg+xml"))

    @property
    def url(self) -> str:
        """Its origin."""
        return self.server.url

    def __enter__(self) -> "Website":
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()

    def _page(self) -> Response:
        found = FORM_ADDRESS.search(self.snippet)
        page = render_template_string(
            (FOLDER / "page.html").read_text(), site=self, form=found["form"] if found else None
        )
        policy = self.policy.format(app=found["app"] if found else "'none'")
        return Response(page, content_type="text/html; charset=utf-8", headers={"Content-Security-Policy": policy})

    def _paste(self) -> AnyResponse:
        pasted = request.form["snippet"].strip()
        self.snippet = pasted if FORM_ADDRESS.search(pasted) else ""
        return redirect("/")
