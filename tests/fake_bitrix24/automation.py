"""Automation of a portal: rules run for documents, and those that wait go on with what the application sends."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.fake_bitrix24.events import Delivery
from tests.fake_bitrix24.people import FakeUser
from tests.fake_bitrix24.rest import RestError
from tests.support.remembered import remember

if TYPE_CHECKING:
    from tests.fake_bitrix24.portal import FakePortal
    from tests.fake_bitrix24.registry import FakeApp

# docs: bizproc-robot/index.md: which class a document of the CRM has.
CLASSES = {"LEAD": "CCrmDocumentLead", "DEAL": "CCrmDocumentDeal"}


@dataclass
class RuleStep:
    """One run of a rule: ``results`` are what the automation went on with, ``log`` what its log shows."""

    token: str = field(repr=False)
    code: str
    document: str
    waits: bool
    delivery: Delivery
    results: list[dict[str, Any]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    @property
    def is_waiting(self) -> bool:
        """Tell whether the automation has not gone on yet."""
        return self.waits and not self.results


class Automation:
    """The rules that are placed in a portal's pipelines, as far as they run."""

    def __init__(self, portal: "FakePortal") -> None:
        self._portal = portal
        self._secret = secrets.token_bytes(32)
        self.steps: list[RuleStep] = []

    def run(
        self,
        app: "FakeApp",
        code: str,
        document: str,
        by: FakeUser | None = None,
        properties: Mapping[str, object] | None = None,
    ) -> RuleStep:
        """Let a rule run for a document such as ``DEAL_17``, with tokens of ``by``, an administrator if not told."""
        portal = self._portal
        rule = portal.bindings_of(app.client_id).rules.get(code)
        if rule is None:
            raise LookupError(f"the rule {code} is blocked: nobody has registered it")
        user = by or portal.administrator
        token = self.new_token()
        fields = self.fields(app, code, document, token, user, properties or {})
        delivery = portal.events.put(rule["HANDLER"], "", fields)
        step = RuleStep(token, code, document, rule.get("USE_SUBSCRIPTION") == "Y", delivery)
        self.steps.append(step)
        return step

    def fields(
        self, app: "FakeApp", code: str, document: str, token: str, user: FakeUser, properties: Mapping[str, object]
    ) -> dict[str, object]:
        """What is posted for a run (docs: bizproc-robot/index.md)."""
        portal = self._portal
        rule = portal.bindings_of(app.client_id).rules[code]
        pair = portal.cloud.registry.issue(app.client_id, portal.member_id, user.id)
        kind = document.rpartition("_")[0]
        type_name = CLASSES.get(kind, "Bitrix\\Crm\\Integration\\BizProc\\Document\\Dynamic")
        auth = portal.event_auth(app) | {
            "access_token": pair.access,
            "refresh_token": pair.refresh,
            "expires": int(portal.cloud.clock.now()) + 3600,
            "expires_in": 3600,
            "user_id": user.id,
        }
        return {
            "workflow_id": token.split("|", maxsplit=1)[0],
            "code": code,
            "document_id": {"0": "crm", "1": type_name, "2": document},
            "document_type": {"0": "crm", "1": type_name, "2": kind},
            "event_token": token,
            "properties": dict(properties) or None,
            "use_subscription": rule.get("USE_SUBSCRIPTION"),
            "timeout_duration": "0",
            "auth": auth,
        }

    def new_token(self) -> str:
        """Make the token of one more run."""
        body = (
            f"{secrets.token_hex(5)}.{secrets.randbelow(10**8):08}|A{secrets.randbelow(10**5)}|{secrets.token_hex(16)}"
        )
        return remember(f"{body}.{self._sign(body)}")

    def _sign(self, body: str) -> str:
        return hmac.new(self._secret, body.encode(), hashlib.sha256).hexdigest()

    def require_signed(self, token: str) -> None:
        """Refuse a token that is malformed or not ours; one of a run that has ended is not."""
        body, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(body).encode()):
            raise RestError("ACCESS_DENIED", "Access denied!", 403)

    def take_result(self, token: str, values: dict[str, Any], words: str) -> None:
        """Let a run go on."""
        self.require_signed(token)
        step = next((one for one in self.steps if one.token == token), None)
        if step is not None and step.is_waiting:
            known = self._known(step)
            step.results.append({key: value for key, value in values.items() if key.lower() in known})
            step.log.append(words)

    def take_line(self, token: str, words: str) -> None:
        """Write a line into the log of a run, which goes on waiting."""
        step = next((one for one in self.steps if one.token == token), None)
        if step is not None and step.is_waiting:
            step.log.append(words)

    def _known(self, step: RuleStep) -> set[str]:
        for bindings in self._portal.all_bindings():
            if step.code in bindings.rules:
                return {id.lower() for id in bindings.rules[step.code].get("RETURN_PROPERTIES") or {}}
        return set()
