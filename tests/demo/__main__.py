"""``make demo``: starts everything on loopback and says where to look."""

import signal
import sys
import tempfile
import threading

from bx24app import create_app
from bx24app.database.migrations import upgrade_database
from bx24app.worker.worker import Worker
from tests.demo import people
from tests.demo.installation import environment
from tests.fake_bitrix24 import FakeBitrix24
from tests.support.processes import free_port
from tests.support.registration import register
from tests.support.serving import Serving
from tests.website import Website

# Portal and app on different sites, as in life: cookies and frames behave as they will.
APP_HOST, PORTAL_HOST = "127.0.0.1", "localhost"
APP_PORT, PORTAL_PORT, WEBSITE_PORT = 8080, 8090, 8070
GUIDE = (
    "Press Install: the app binds its tabs and opens by itself.",
    "Choose a lead in the menu on the left and its tab “Callbacks”.",
    "Press Call. The manager's phone on the right rings: press Answer, then Answer on the customer's phone.",
    "Watch the state change in the app; hang up, or refuse one of the two next time.",
    "Sign in as the manager (top right): a manager has no right to read lines, and can call all the same.",
    "As the administrator open Callback Desk: “Get ready” leads through line, hours, a test call and a form. Give it "
    "the address {website}, copy its line, open {website} (a company's website), paste the line there, and ask for a "
    "callback with the button. More forms are made under “Websites”.",
    "The website's other pages post the plain form from windows-1251, replace their body, and run without script. The "
    "leads below the first three are written as people write: open their tab. At the top “This portal is” closes it "
    "for maintenance or ends its plan. docs/demo.md says what to see at each.",
)


def website() -> Website:
    """Another company's website, where a form can be tried out."""
    return Website(PORTAL_HOST, free_port(PORTAL_HOST, WEBSITE_PORT))


def main() -> None:
    """Start, print the address, wait for Ctrl-C."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    with tempfile.TemporaryDirectory() as directory, FakeBitrix24() as fake, website() as site:
        server = Serving(APP_HOST, free_port(APP_HOST, APP_PORT))
        portal = fake.add_portal("demo", PORTAL_HOST, free_port(PORTAL_HOST, PORTAL_PORT))
        portal.guide = tuple(step.format(website=site.url) for step in GUIDE)
        people.settle(portal)
        environ = environment(directory, fake, server.url)
        app = create_app(environ)
        with app.app_context():
            upgrade_database()
        register(fake, environ)
        server.serve(app)
        worker = Worker(app)
        working = threading.Thread(target=worker.run, name="worker")
        working.start()
        print(f"\n  Open {portal.url} in a browser: the page says what to click. Ctrl-C stops the demo.")
        print(f"  The website with the callback form is {site.url}\n")
        sys.stdout.flush()
        stopping.wait()
        worker.stop()
        working.join(timeout=75)
        server.stop()


main()
