"""A visitor of a website: fetches a challenge, works for it, and sends the form."""

import base64
import json
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

import altcha
import time_machine
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from bx24app.models import utcnow
from tests.support.actors import CUSTOMER, json_of


def solved(challenge: dict[str, Any]) -> str:
    """The proof of work for a challenge, as a browser sends it."""
    read = altcha.Challenge.from_dict(challenge)
    solution = altcha.solve_challenge(read)
    assert solution is not None
    return altcha.Payload(read, solution).to_base64()


@dataclass(eq=False)
class Visitor:
    """Somebody with a form open in a browser with JavaScript, unless they have none."""

    client: FlaskClient
    form_key: str
    origin: str = "http://127.0.0.1:1"
    address: str = "203.0.113.7"
    language: str = "en"
    headers: dict[str, str] = field(default_factory=dict)

    def _sent(self) -> dict[str, str]:
        return {"Origin": self.origin, "Accept-Language": self.language, **self.headers}

    def works(self, seconds_ago: float = 5) -> str:
        """Fetch a challenge some seconds ago and solve it."""
        with time_machine.travel(utcnow() - timedelta(seconds=seconds_ago), tick=False):
            response = self.client.get(f"/w/{self.form_key}/challenge")
        return solved(json_of(response))

    def opens(self, seconds_ago: float = 5) -> str:
        """Open the hosted form some seconds ago; returns its timed token."""
        with time_machine.travel(utcnow() - timedelta(seconds=seconds_ago), tick=False):
            page = self.client.get(f"/w/{self.form_key}", headers={"Accept": "text/html"})
        found = re.search(r'name="token" value="([^"]+)"', page.text)
        assert found is not None, page.text
        return found[1]

    def asks(self, number: str = CUSTOMER, **body: Any) -> TestResponse:
        """Send the form; every request is a new one unless ``idempotency_key`` says otherwise."""
        whole = {"number": number, "idempotency_key": str(uuid4()), **body}
        if "altcha" not in whole and "token" not in whole:
            whole["altcha"] = self.works()
        return self.posts(whole)

    def posts(self, body: object) -> TestResponse:
        return self.client.post(
            f"/w/{self.form_key}/callbacks",
            json=body,
            headers={name: value for name, value in self._sent().items() if value},
            environ_overrides={"REMOTE_ADDR": self.address},
        )

    def looks(self, status_url: str, **headers: str) -> TestResponse:
        return self.client.get(
            "/c/" + status_url.rpartition("/c/")[2], headers={"Accept": "application/json"} | headers
        )


def altered(proof: str, **parameters: Any) -> str:
    """A proof with other parameters in its challenge."""
    payload = json.loads(base64.b64decode(proof))
    payload["challenge"]["parameters"].update(parameters)
    return base64.b64encode(json.dumps(payload).encode()).decode()
