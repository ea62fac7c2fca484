"""A company's own website, on another site than the app, with a strict policy: what the widget has to work on."""

import re
from pathlib import Path

from flask import Response, redirect, request
from jinja2 import Environment, FileSystemLoader
from werkzeug.wrappers import Response as AnyResponse

from tests.fake_bitrix24.server import Server

FOLDER = Path(__file__).parent
# For the app nothing but scripts and frames.
POLICY = (
    "default-src 'none'; script-src {scripts}; frame-src {app}; style-src 'self'; img-src 'self'; "
    "form-action 'self'{forms}; base-uri 'none'; require-trusted-types-for 'script'"
)
ICON = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><circle cx="4" cy="4" r="4" fill="#e0a526"/></svg>'
PAGES = {
    "/": "Our roofs",
    "/windows-1251": "An old page",
    "/replaced": "A page that replaces its body",
    "/plain": "Without script",
}
FORM_ADDRESS = re.compile(r'src="(?P<form>(?P<app>https?://[^/"]+)/w/\w+)/widget\.js"')


class Website:
    """The site; ``snippet`` is what its owner has pasted into the page."""

    def __init__(self, host: str, port: int = 0) -> None:
        self.snippet = ""
        self.language = "en"
        self.policy = POLICY
        self.server = Server("website", host, port)
        route = self.server.app.add_url_rule
        self._templates = Environment(loader=FileSystemLoader(FOLDER), autoescape=True)
        route("/", "page", lambda: self._page("page.html"))
        route("/windows-1251", "old", lambda: self._page("windows-1251.html", charset="windows-1251"))
        route("/replaced", "replaced", lambda: self._page("replaced.html", scripts="'self'"))
        route("/plain", "plain", lambda: self._page("plain.html", scripts="'none'"))
        script = (FOLDER / "replaced.js").read_text()
        route("/replaced.js", "script", lambda: Response(script, content_type="text/javascript"))
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

    def _page(self, template: str, charset: str = "utf-8", scripts: str = "") -> Response:
        """One of its pages; ``scripts`` may run beside the app's, or 'none'."""
        found = FORM_ADDRESS.search(self.snippet)
        page = self._templates.get_template(template).render(
            site=self, form=found["form"] if found else None, charset=charset, pages=PAGES
        )
        app = found["app"] if found else ""
        allowed = scripts if scripts == "'none'" else f"{app} {scripts}".strip() or "'none'"
        policy = self.policy.format(app=app or "'none'", scripts=allowed, forms=f" {app}" if app else "")
        if scripts == "'self'":
            # Its script copies the line, address and all.
            policy = policy.partition("; require-trusted-types-for")[0]
        headers = {"Content-Security-Policy": policy, "Content-Type": f"text/html; charset={charset}"}
        return Response(page.encode(charset, "xmlcharrefreplace"), headers=headers)

    def _paste(self) -> AnyResponse:
        pasted = request.form["snippet"].strip()
        self.snippet = pasted if FORM_ADDRESS.search(pasted) else ""
        return redirect("/")
