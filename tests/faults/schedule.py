"""What one seed makes: callbacks, what happens to each dial and each call, and the steps of everybody."""

import random
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")
DIALS = 24

# How often which fault meets a dial; the names are those of the fake's switches, and "late_ring".
FAULTS = {
    "": 40,
    "drop_before": 6,
    "drop_after": 8,
    "html_502": 4,
    "html_502_after": 5,
    "empty": 2,
    "truncated_json": 2,
    "malformed_result": 2,
    "hang_before": 2,
    "hang_after": 2,
    "late_ring": 5,
    "moved": 1,
    "error:INTERNAL_SERVER_ERROR:500": 4,
    "error:QUERY_LIMIT_EXCEEDED:503": 6,
    "error:OPERATION_TIME_LIMIT:429": 2,
    "error:CONNECTION_ERROR:500": 2,
    "error:expired_token:401": 2,
    "error:ERROR_CORE:400": 2,
}
# What people do with the phones, step by step; "end" is followed by the platform's code.
STORIES = {
    "manager_answers customer_answers hang_up": 8,
    "manager_answers customer_answers talk hang_up": 2,
    "manager_answers customer_answers": 2,
    "manager_answers end:486": 3,
    "manager_answers end:603-S": 2,
    "manager_answers end:603": 2,
    "manager_answers end:404": 1,
    "end:304": 3,
    "end:402": 1,
    "": 3,
}
HURTS = {"": 86, "before": 5, "after": 7, "restart": 2}
# How a row of the history says when its call began, or fails to.
ROWS = {"plain": 4, "zone": 3, "no_offset": 2, "no_date": 1, "twice": 2, "beside_garbage": 2}
# The steps that make sense at a moment compete with these weights.
STEPS = {
    "request": 12,
    "work": 24,
    "work_killed": 24,
    "chores_killed": 3,
    "stall": 3,
    "go_on": 8,
    "overtaken": 3,
    "race": 4,
    "race_cancel": 4,
    "unplugged": 2,
    "pass": 12,
    "phones": 26,
    "deliver": 14,
    "history": 8,
    "chores": 8,
    "cancel": 4,
    "reschedule": 3,
    "resolve": 6,
    "retry": 3,
    "second": 3,
    "repeat": 1,
    "stranger": 4,
    "forge": 12,
    "rule": 10,
    "rule_killed": 4,
    "rule_again": 4,
    "rule_work": 14,
    "rule_work_killed": 14,
    "rule_race": 2,
    "document_gone": 2,
    "hurt": 2,
    "clock_jumps": 2,
}


# What follows a step in schedules with cards, competing with these weights; and how many schedules have them.
CARD_STEPS = {"cards": 10, "cards_killed": 8, "cards_race": 2, "cards_unplugged": 1, "cards_dripping": 1}
HAVE_CARDS = 0.4


def choose(rng: random.Random, weights: dict[str, int]) -> str:
    """One of the keys, by weight."""
    return rng.choices(list(weights), list(weights.values()))[0]


@dataclass(frozen=True)
class Request:
    """A callback to come: of a person, or of a website form with a policy of its own."""

    website: bool
    number: int
    delay_minutes: int
    retries: int
    retry_minutes: int
    unknown_policy: str
    expiry_minutes: int
    has_hours: bool


@dataclass(frozen=True)
class DialPlan:
    """What happens to one request to dial, and to its call.

    ``early``: how many steps of the call are told before the answer; ``hurt``: when the database fails meanwhile.
    """

    fault: str
    early: int
    hurt: str
    story: str
    row: str


@dataclass(frozen=True)
class Schedule:
    """Everything that one seed decides; each of ``steps`` is the seed of one step."""

    seed: int
    begins_after_hours: int
    is_limited: bool
    portal_retries: int
    line_cap: int | None
    tokens_expire: bool
    tells_the_end: float
    requests: list[Request] = field(default_factory=list)
    dials: list[DialPlan] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    # Callbacks have cards in the CRM; after each of ``steps`` the step of ``card_steps`` follows, None: none.
    has_cards: bool = False
    card_steps: list[int | None] = field(default_factory=list)


def make(seed: int) -> Schedule:
    """The schedule of a seed; the same one for ever, so that a failure can be replayed."""
    rng = random.Random(seed)
    # Of its own, so that what a seed has always made stays as it is.
    cards = random.Random(f"cards {seed}")
    made = Schedule(
        seed=seed,
        has_cards=cards.random() < HAVE_CARDS,
        begins_after_hours=rng.randrange(24 * 7),
        is_limited=rng.random() < 0.2,
        portal_retries=rng.choice([0, 0, 0, 1, 2]),
        line_cap=rng.choice([10, 10, None, 1]),
        tokens_expire=rng.random() < 0.08,
        # In some schedules nothing more is told once the steps are over.
        tells_the_end=rng.choice([0.0, 0.5, 1.0, 1.0]),
    )
    made.requests.extend(_request(rng) for _ in range(rng.choice([1, 1, 2, 2, 3])))
    made.dials.extend(_dial(rng) for _ in range(DIALS))
    made.steps.extend(rng.randrange(2**32) for _ in range(rng.randrange(6, 15)))
    made.card_steps.extend(cards.choice([None, cards.randrange(2**32)]) for _ in made.steps)
    return made


def _request(rng: random.Random) -> Request:
    return Request(
        website=rng.random() < 0.6,
        # Two may be for one number.
        number=rng.choice([0, 1, 2, 2]),
        delay_minutes=rng.choice([0, 0, 0, 0, 5, 30]),
        retries=rng.choice([0, 1, 2, 2]),
        retry_minutes=rng.choice([1, 10]),
        unknown_policy=rng.choice(["ask", "dial_again"]),
        expiry_minutes=rng.choice([5, 60]),
        has_hours=rng.random() < 0.15,
    )


def _dial(rng: random.Random) -> DialPlan:
    return DialPlan(
        fault=choose(rng, FAULTS),
        early=rng.choice([0, 0, 0, 1, 1, 3]),
        hurt=choose(rng, HURTS),
        story=choose(rng, STORIES),
        row=choose(rng, ROWS),
    )
