"""What proves a webhook's delivery, as docs/webhooks.md says it; and where deliveries never go."""

import json
import re
import subprocess
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select, update

from bx24app.crypto import SealError, keyring
from bx24app.database import reading, writing
from bx24app.models import Webhook, utcnow
from bx24app.services.webhooks.signature import signature
from tests.conftest import OtherApp, encryption_key
from tests.support import ROOT
from tests.support.actors import Actor, json_of
from tests.support.npm import find_npm
from tests.support.sites import Site
from tests.support.webhook_steps import added, asked, form, listed, site, told_all

__all__ = ["form", "site"]  # Fixtures.

DOCS = (ROOT / "docs" / "webhooks.md").read_text(encoding="utf-8")
Verify = Callable[[str, str, bytes], bool]


def snippet(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)
    assert found is not None
    return found[1]


def in_python() -> Verify:
    documented: dict[str, Any] = {}
    exec(snippet("python"), documented)
    return cast("Verify", documented["is_genuine"])


def in_javascript(secret: str, header: str, body: bytes, now: float | None = None) -> bool:
    """Node.js runs the documented code; ``now`` turns its clock."""
    given = json.dumps([secret, header, body.decode()])
    clock = f"Date.now = () => {now * 1000};" if now is not None else ""
    script = f"{clock}{snippet('javascript')}\nconsole.log(isGenuine(...{given}));"
    node = Path(find_npm()).with_name("node")
    done = subprocess.run([str(node), "-"], input=script, capture_output=True, text=True, check=True)
    return done.stdout.strip() == "true"


def vector() -> dict[str, str]:
    return dict(re.findall(r"^\| (secret|timestamp|body|header) \| `(.*)` \|$", DOCS, re.MULTILINE))


def test_the_documented_vector_is_what_we_send_and_what_the_documented_code_accepts() -> None:
    known = vector()
    body, at = known["body"].encode(), int(known["timestamp"])
    assert signature((known["secret"],), at, body) == known["header"]
    with time_machine.travel(at + 10, tick=False):
        assert in_python()(known["secret"], known["header"], body)
    assert in_javascript(known["secret"], known["header"], body, now=at + 10)


@pytest.mark.parametrize(
    ("seconds", "altered"),
    [
        (301, {}),
        (-301, {}),
        (0, {"body": b'{"event_id":"x"}'}),
        (0, {"body": b""}),
        (0, {"secret": "whsec_another"}),
        (0, {"header": "t=1795515331,v1=" + vector()["header"].partition("v1=")[2]}),
        (0, {"header": vector()["header"].replace("t=1795515330,", "")}),
        (0, {"header": vector()["header"].partition(",")[0]}),
        (0, {"header": vector()["header"][:-2] + "00"}),
        (0, {"header": vector()["header"].replace("v1=", "v0=")}),
        (0, {"header": ""}),
        (0, {"header": "t=,v1="}),
        (0, {"header": "t=1795515330,v1=é"}),
        (0, {"header": "t=١٧٩٥٥١٥٣٣٠,v1=" + vector()["header"].partition("v1=")[2]}),
        (0, {"header": ",=,,t"}),
    ],
)
def test_replayed_and_altered_deliveries_are_not_genuine(seconds: int, altered: dict[str, Any]) -> None:
    known = vector()
    at = int(known["timestamp"]) + seconds
    given = {"secret": known["secret"], "header": known["header"], "body": known["body"].encode(), **altered}
    with time_machine.travel(at, tick=False):
        assert not in_python()(given["secret"], given["header"], given["body"])
    assert not in_javascript(given["secret"], given["header"], given["body"], now=at)


def test_what_a_site_gets_is_genuine_until_it_is_old(app: Flask, administrator: Actor, form: int, site: Site) -> None:
    secret = added(administrator, site)["secret"]
    asked(app, form)
    told_all(app)
    [told] = site.told
    is_genuine = in_python()
    assert is_genuine(secret, told.signature, told.body)
    assert in_javascript(secret, told.signature, told.body)
    assert not is_genuine(secret, told.signature, told.body.replace(b"queued", b"missed"))
    with time_machine.travel(time.time() + 400):
        assert not is_genuine(secret, told.signature, told.body)
        # What is told again is signed anew.
        assert administrator.asks("POST", "/webhooks/deliveries/1/redeliver").status_code == 202
        told_all(app)
        assert is_genuine(secret, site.told[1].signature, site.told[1].body)
    assert site.told[1].body == told.body


def test_after_a_rotation_both_secrets_are_valid_for_a_day(
    app: Flask, administrator: Actor, form: int, site: Site
) -> None:
    webhook = added(administrator, site)
    rotated = json_of(administrator.asks("POST", f"/webhooks/{webhook['id']}/rotate"))
    assert rotated["secret"] != webhook["secret"]
    assert rotated["former_secret_until"] is not None
    administrator.asks("POST", f"/webhooks/{webhook['id']}/test")
    told_all(app)
    with app.app_context(), writing() as session:
        session.execute(update(Webhook).values(former_until=utcnow() - timedelta(seconds=1)))
    administrator.asks("POST", f"/webhooks/{webhook['id']}/test")
    told_all(app)
    both, one = site.told
    assert both.signature.count("v1=") == 2
    is_genuine = in_python()
    for secret, then in ((webhook["secret"], False), (rotated["secret"], True)):
        assert is_genuine(secret, both.signature, both.body)
        assert in_javascript(secret, both.signature, both.body)
        assert is_genuine(secret, one.signature, one.body) == then


def test_secrets_are_shown_once_and_kept_sealed(
    app: Flask, other_app: OtherApp, environ: dict[str, str], administrator: Actor, form: int, site: Site
) -> None:
    webhook = added(administrator, site)
    rotated = json_of(administrator.asks("POST", f"/webhooks/{webhook['id']}/rotate"))
    shown = administrator.asks("GET", "/webhooks").text + administrator.asks("GET", f"/webhooks/{webhook['id']}").text
    with app.app_context(), reading() as session:
        row = session.scalars(select(Webhook)).one()
        assert row.former_secret_sealed is not None
        shown += row.secret_sealed + row.former_secret_sealed + repr(row)
    assert webhook["secret"] not in shown
    assert rotated["secret"] not in shown
    # Rotating the operator's keys seals them anew.
    new = encryption_key()
    both = other_app(ENCRYPTION_KEYS=f"{new},{environ['BX24APP_ENCRYPTION_KEYS']}")
    assert both.test_cli_runner().invoke(args=["rotate-keys"]).exit_code == 0
    administrator.asks("POST", f"/webhooks/{webhook['id']}/test")
    told_all(other_app(ENCRYPTION_KEYS=new))
    assert in_python()(rotated["secret"], site.told[0].signature, site.told[0].body)
    # A secret that was put into another portal's row does not open there, and nothing is sent.
    with app.app_context(), reading() as session, pytest.raises(SealError):
        session.scalars(select(Webhook)).one().secrets(keyring, "another member", utcnow())
    administrator.asks("POST", f"/webhooks/{webhook['id']}/test")
    told_all(other_app(ENCRYPTION_KEYS=encryption_key()))
    assert len(site.told) == 1
    assert listed(administrator, webhook)[0]["last_error"] == "secret_unreadable"
