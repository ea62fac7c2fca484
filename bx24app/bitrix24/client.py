"""Call REST methods of one portal with the token of one person."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from requests_oauthlib import OAuth2Session

from bx24app.bitrix24.answers import MAX_ANSWER_BYTES, Json, as_object, read_answer
from bx24app.bitrix24.compliance import bitrix24_compliance_fix
from bx24app.bitrix24.errors import error_for
from bx24app.outgoing.adapter import USER_AGENT, GuardedAdapter, exchanging, guard
from bx24app.outgoing.address_policy import AddressPolicy
from bx24app.outgoing.errors import ExchangeError, UnreadableAnswer
from bx24app.outgoing.slots import exchange_slot
from bx24app.outgoing.stopwatch import awaiting_answer

READ_TIMEOUT = (5.0, 15.0)
# The platform ends every request after 60 s, so waiting longer than 65 s for an answer is useless.
DIAL_TIMEOUT = (5.0, 65.0)
# Whole exchanges, however slowly their bytes come; a dial's ends before its lease (``queue.DIAL_LEASE``).
EXCHANGE_SECONDS = 20.0
DIAL_SECONDS = 75.0
# It holds the number of the call, or words about what was wrong.
DIAL_ANSWER_BYTES = 1024 * 1024
MAX_BATCH = 50
LAST_SECOND = 2**33
# A context manager that a client enters around every request that it sends.
Watch = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class BatchAnswer:
    """The answer to a batch: for each part, by its name, a result or an error."""

    results: dict[str, Json]
    errors: dict[str, ExchangeError]

    def result(self, name: str) -> Json:
        """Return the result of one part; raises that part's error, ``UnreadableAnswer`` when the part is missing."""
        if name in self.errors:
            raise self.errors[name]
        if name not in self.results:
            raise UnreadableAnswer
        return self.results[name]

    def completed_by(self, later: "BatchAnswer") -> "BatchAnswer":
        """This answer with what a later one to some of its parts says."""
        errors = {name: error for name, error in self.errors.items() if name not in later.results}
        return BatchAnswer(self.results | later.results, errors | later.errors)


class PortalClients:
    """Makes clients for portals and owns the connection pool of this process."""

    def __init__(self, policy: AddressPolicy, dial_timeout: tuple[float, float] = DIAL_TIMEOUT) -> None:
        self.policy = policy
        self._dial_timeout = dial_timeout
        self._adapter = GuardedAdapter(policy, EXCHANGE_SECONDS)

    def client(self, client_endpoint: str, access_token: str, watch: Watch = nullcontext) -> "PortalClient":
        """Make a client for a confirmed endpoint; raises ``AddressForbidden``."""
        self.policy.check(client_endpoint)
        return PortalClient(client_endpoint, access_token, self._adapter, READ_TIMEOUT, watch)

    @contextmanager
    def dialler(self, client_endpoint: str, access_token: str, watch: Watch = nullcontext) -> Iterator["PortalClient"]:
        """Make a client that dials on a connection of its own; raises ``AddressForbidden``.

        The other side can reset a pooled connection at any moment, and then the outcome of the dial would be unknown.
        """
        self.policy.check(client_endpoint)
        adapter = GuardedAdapter(self.policy, DIAL_SECONDS, pool_size=1)
        try:
            yield PortalClient(client_endpoint, access_token, adapter, self._dial_timeout, watch, DIAL_ANSWER_BYTES)
        finally:
            adapter.close()


class PortalClient:
    """A client of one portal with one token. It sends every request once: it does not retry or follow redirects."""

    def __init__(
        self,
        client_endpoint: str,
        access_token: str,
        adapter: GuardedAdapter,
        timeout: tuple[float, float],
        watch: Watch = nullcontext,
        answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        self._endpoint = client_endpoint.rstrip("/") + "/"
        self._timeout = timeout
        self._watch, self._answer_bytes = watch, answer_bytes
        token = {"access_token": access_token, "token_type": "Bearer"}
        self._session = bitrix24_compliance_fix(OAuth2Session(token=token))
        guard(self._session, adapter)
        # The time at which the platform resets its count of the last method's operating time (docs: limits.md).
        self.operating_reset_at: datetime | None = None

    def invoke(self, method: str, parameters: Mapping[str, Json] | None = None) -> Json:
        """Call a REST method and return its ``result``; raises ``ExchangeError``."""
        with self._watch():
            answer = self._post(method, parameters)
        self.operating_reset_at = _reset_at(answer.get("time"))
        return answer["result"]

    def _post(self, method: str, parameters: Mapping[str, Json] | None) -> dict[str, Json]:
        with exchange_slot(self._endpoint), awaiting_answer():
            with exchanging():
                response = self._session.post(
                    self._endpoint + method,
                    data=dict(parameters or {}),
                    headers={"User-Agent": USER_AGENT, "Accept": "application/json"},
                    timeout=self._timeout,
                    stream=True,
                )
            answer = read_answer(response, self._answer_bytes)
        if "result" not in answer:
            raise UnreadableAnswer
        return answer

    def batch(self, commands: Mapping[str, tuple[str, Mapping[str, str | int]]]) -> BatchAnswer:
        """Call up to 50 methods in one request; a part may refer to an earlier one as ``$result[name][KEY]``."""
        if len(commands) > MAX_BATCH:
            raise ValueError("a batch holds 50 commands at most")
        # The platform recognises `$result[a][B]` only when its brackets are not escaped.
        cmd = {
            name: f"{method}?{urlencode(parameters, safe='$[]')}" if parameters else method
            for name, (method, parameters) in commands.items()
        }
        answer = as_object(self.invoke("batch", {"halt": 0, "cmd": cmd}))
        errors = as_object(answer.get("result_error", []))
        return BatchAnswer(
            results=as_object(answer.get("result", [])),
            errors={name: _part_error(error) for name, error in errors.items()},
        )


def _reset_at(times: Json) -> datetime | None:
    """Read ``operating_reset_at`` (seconds since 1970); None on older portals, which do not send it."""
    seconds = times.get("operating_reset_at") if isinstance(times, dict) else None
    if not isinstance(seconds, int | float) or not 0 < seconds < LAST_SECOND:
        return None
    return datetime.fromtimestamp(seconds, UTC)


def _part_error(error: Json) -> ExchangeError:
    if not isinstance(error, dict):
        return UnreadableAnswer()
    words = str(error.get("error_description") or "")
    return error_for(str(error.get("error") or ""), words, 0)
