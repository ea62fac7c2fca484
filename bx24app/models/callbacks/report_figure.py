"""What the reports add up: the callbacks requested in a span of time, and how they ended."""

from sqlalchemy import JSON, BigInteger, ForeignKey, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.database import Base
from bx24app.models.columns import Code

QUARTERS_AN_HOUR, QUARTERS_A_DAY = 4, 96
# The lengths of spans in quarters of an hour, the last one 30 days: each is added up from spans of the length before.
SPAN_LENGTHS = (1, QUARTERS_AN_HOUR, QUARTERS_A_DAY, 30 * QUARTERS_A_DAY)
QUARTER_SECONDS = 900


class ReportFigure(Base):
    """The callbacks of one portal that were requested in one span of time and have one thing in common.

    ``slot`` is the first quarter of an hour of the span, counted from 1970 in UTC; ``quarters`` is its length, one of
    ``SPAN_LENGTHS``. ``kind`` and ``key`` say what they have in common: everything, a source, a form, a line, a person,
    or source, form and line together.
    A row is written only as a recount of its callbacks (services/reports/counting.py) and is never added to.
    """

    __tablename__ = "report_figure"

    portal_id: Mapped[int] = mapped_column(ForeignKey("portal.id", ondelete="CASCADE"), primary_key=True)
    quarters: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    kind: Mapped[Code] = mapped_column(primary_key=True)
    slot: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(String(400), primary_key=True)
    requests: Mapped[int]
    # How they ended; together with those under way these are all requests.
    reached: Mapped[int]
    nobody_answered: Mapped[int]
    customer_not_reached: Mapped[int]
    not_told: Mapped[int]
    expired: Mapped[int]
    failed: Mapped[int]
    cancelled: Mapped[int]
    under_way: Mapped[int]
    # Bitrix24 was asked to call, and somebody picked up, as far as it tells.
    called: Mapped[int]
    picked_up: Mapped[int]
    # Picked up, but nobody told when.
    untimed: Mapped[int]
    talk_seconds: Mapped[int] = mapped_column(BigInteger)
    calls: Mapped[int]
    calls_without_cost: Mapped[int]
    # How many waited how long for the first pick-up, by the step of ``WAIT_STEPS`` in seconds.
    waits: Mapped[dict[str, int]] = mapped_column(JSON)
    # Ten-thousandths of each currency: currencies are never added up.
    costs: Mapped[dict[str, int]] = mapped_column(JSON)
