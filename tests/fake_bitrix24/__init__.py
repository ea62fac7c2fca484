"""A Bitrix24 to talk to: authorization server, portals, event queues and telephony on loopback.

Built from the documentation, never from our own parsers: it must not import the app.
"""

from tests.fake_bitrix24.cloud import FakeBitrix24
from tests.fake_bitrix24.faults import Fault
from tests.fake_bitrix24.installation import LaunchPost
from tests.fake_bitrix24.people import FakeUser
from tests.fake_bitrix24.portal import FakePortal
from tests.fake_bitrix24.registry import FakeApp
from tests.fake_bitrix24.telephony import FakeCall, FakeLine

__all__ = ["FakeApp", "FakeBitrix24", "FakeCall", "FakeLine", "FakePortal", "FakeUser", "Fault", "LaunchPost"]
