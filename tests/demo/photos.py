"""``python -m tests.demo.photos`` takes the pictures of the README: the list, one callback, and a form's editor.

The company is that of tests/support/busy_portal.py: its people are made up, and their numbers belong to nobody.
"""

import sys
import tempfile

from bx24app import create_app
from bx24app.database.migrations import upgrade_database
from tests.demo.installation import environment
from tests.fake_bitrix24 import FakeBitrix24
from tests.support import ROOT
from tests.support.actors import Actor
from tests.support.browser import chromium, watched_page
from tests.support.busy_portal import fill
from tests.support.registration import register
from tests.support.serving import Serving
from tests.support.tour import EVERY_STOP, Tour

IMAGES = ROOT / "docs" / "images"
# As wide as a slider of the portal.
WIDTH, HEIGHT = 1200, 860
PICTURES = {"callbacks": "list", "callback-repeats": "callback", "form-look": "form"}


def main() -> None:
    """Start a portal, fill it, and photograph it."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory, FakeBitrix24() as fake, chromium() as browser:
        server = Serving()
        portal = fake.add_portal("demo")
        environ = environment(directory, fake, server.url)
        app = create_app(environ)
        with app.app_context():
            upgrade_database()
        application = register(fake, environ)
        server.serve(app)
        administrator, manager = (
            Actor(app.test_client(), portal, application, user) for user in (portal.administrator, portal.manager)
        )
        administrator.installs()
        for person in (administrator, manager):
            person.opens()
        company = fill(app, administrator, is_odd=False)
        with watched_page(browser, {"width": WIDTH, "height": HEIGHT}) as page:
            tour = Tour(page, administrator, manager, company, server.url)
            for stop in EVERY_STOP:
                if name := PICTURES.get(stop.name):
                    stop.opens(tour)
                    page.mouse.move(0, 0)
                    page.screenshot(path=IMAGES / f"{name}.png")
                    sys.stdout.write(f"docs/images/{name}.png\n")
        server.stop()


main()
