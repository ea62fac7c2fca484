"""The commands of the README's production section, so that what is walked is what stands there."""

import re
from dataclasses import dataclass
from functools import cache

from tests.support import ROOT

SECTION = "## In production"
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One block of commands, and the heading above it."""

    heading: str
    commands: str


@cache
def blocks() -> tuple[Block, ...]:
    """The blocks of the section, in their order."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition(f"{SECTION}\n")[2]
    section = re.split(r"^## ", text, maxsplit=1, flags=re.MULTILINE)[0]
    found = []
    for heading, body in re.findall(r"^### (.+)\n((?:(?!^### ).*\n?)*)", section, re.MULTILINE):
        found += [Block(heading, commands) for commands in BLOCK.findall(body)]
    return tuple(found)


def commands_under(heading: str) -> str:
    """The commands under a heading of the section, which has one block."""
    [block] = [block for block in blocks() if block.heading == heading]
    return block.commands
