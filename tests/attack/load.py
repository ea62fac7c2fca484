"""``python -m tests.attack.load``: attackers of one portal, all at once, from one process that costs little.

Reads what to send as JSON from standard input, one object in the first line, works until the input ends, and prints
how often each kind was answered with which status.
"""

import asyncio
import itertools
import json
import os
import secrets
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlencode

NICENESS = 10
TIMEOUT_SECONDS = 60
# Whoever was answered asks again after this.
PAUSE_SECONDS = 2.0
DRIP_SECONDS = 1.0
ENDLESS_HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: "
ENDLESS_BODY = b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n"


@dataclass(frozen=True)
class Plan:
    """Whom to send what: how many at once of each kind, made-up launches by the second.

    ``launch`` and ``query`` are the fields of a genuine frame post; ``waiting`` are bodies of callbacks, each sent
    under its own key; ``own_launches`` are the posts of people whose portal drips.
    """

    port: int
    launch: dict[str, str]
    query: dict[str, str]
    ticket: str
    waiting: list[dict[str, str]]
    own_launches: list[dict[str, str]]
    flood_per_second: int
    slow_senders: int


class Attackers:
    """All of them on one loop."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._path = f"/?{urlencode(plan.query)}"
        self._addresses = (f"203.0.{number % 256}.{number // 256 % 256}" for number in itertools.count())
        self.answers: Counter[str] = Counter()

    async def attack(self) -> None:
        """Go on until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._flood(group))
            for number in range(self._plan.slow_senders):
                group.create_task(self._send_slowly(ENDLESS_BODY if number % 2 else ENDLESS_HEAD))
            for number, body in enumerate(self._plan.waiting):
                group.create_task(self._wait(f"waiting-{number}", body))
            for post in self._plan.own_launches:
                group.create_task(self._launch_again("own launch", post))

    async def _flood(self, group: asyncio.TaskGroup) -> None:
        loop, began = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        for number in itertools.count():
            await asyncio.sleep(max(0.0, began + number / self._plan.flood_per_second - loop.time()))
            post = {**self._plan.launch, "AUTH_ID": secrets.token_hex(35)}
            group.create_task(self._post("made-up launch", self._path, urlencode(post), FORM))

    async def _send_slowly(self, begun: bytes) -> None:
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._plan.port)
                writer.write(begun)
                while not reader.at_eof():
                    writer.write(b"a")
                    await writer.drain()
                    with suppress(TimeoutError):
                        if await asyncio.wait_for(reader.read(1000), DRIP_SECONDS):
                            self.answers["slow sender: closed"] += 1
                            break
                writer.close()

    async def _wait(self, key: str, body: dict[str, str]) -> None:
        headers = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {self._plan.ticket}",
            "Idempotency-Key": key,
            "Prefer": "wait=10",
        }
        while True:
            await self._post("waiting", "/api/v1/callbacks", json.dumps(body), headers)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _launch_again(self, kind: str, post: dict[str, str]) -> None:
        while True:
            await self._post(kind, self._path, urlencode(post), FORM)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _post(self, kind: str, path: str, body: str, headers: dict[str, str]) -> None:
        status = "none"
        with suppress(OSError, TimeoutError, IndexError):
            async with asyncio.timeout(TIMEOUT_SECONDS):
                status = await self._exchange(path, body.encode(), headers)
        self.answers[f"{kind}: {status}"] += 1

    async def _exchange(self, path: str, body: bytes, headers: dict[str, str]) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._plan.port)
        lines = [f"POST {path} HTTP/1.1", "Host: x", "Connection: close", f"Content-Length: {len(body)}"]
        lines += [f"X-Forwarded-For: {next(self._addresses)}", *(f"{name}: {text}" for name, text in headers.items())]
        try:
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            return (await reader.read()).split(b" ", 2)[1].decode()
        finally:
            writer.close()


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def _until_input_ends(attackers: Attackers) -> None:
    attack = asyncio.create_task(attackers.attack())
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    attack.cancel()
    with suppress(asyncio.CancelledError):
        await attack


def main() -> None:
    """Attack as the input says."""
    os.nice(NICENESS)
    attackers = Attackers(Plan(**json.loads(sys.stdin.readline())))
    asyncio.run(_until_input_ends(attackers))
    print(json.dumps(attackers.answers))


if __name__ == "__main__":
    main()
