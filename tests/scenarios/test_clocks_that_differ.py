"""Several machines whose clocks differ a little: what one of them has signed counts at the others."""

from datetime import timedelta

import pytest
import time_machine
from flask import Flask

from bx24app.models import utcnow
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor
from tests.support.visitors import Visitor
from tests.support.websites import MakeVisitor

# Of the machine that signs, against that of the others.
A_LITTLE = (-60, 1, 60, 119)


@pytest.fixture
def visitor(manager: Actor, visitor_of: MakeVisitor) -> Visitor:
    return visitor_of()


@pytest.mark.parametrize("ahead", A_LITTLE)
def test_a_ticket_counts(app: Flask, manager: Actor, portal: FakePortal, ahead: int) -> None:
    with time_machine.travel(utcnow() + timedelta(seconds=ahead)):
        manager.opens()
    assert manager.asks("GET", "/callbacks").status_code == 200


@pytest.mark.parametrize("ahead", [180, 3600, 3 * 86_400])
def test_a_ticket_of_the_future_does_not(app: Flask, manager: Actor, portal: FakePortal, ahead: int) -> None:
    with time_machine.travel(utcnow() + timedelta(seconds=ahead)):
        manager.opens()
    assert manager.asks("GET", "/callbacks").status_code == 401


@pytest.mark.parametrize("ahead", A_LITTLE)
def test_a_visitor_who_loaded_the_form_there_is_called(visitor: Visitor, ahead: int) -> None:
    """As quickly as a person with a filled-in browser, who needs three seconds."""
    assert visitor.asks(altcha=visitor.works(seconds_ago=3 - ahead)).status_code == 202
    answer = visitor.asks("030 901821", token=visitor.opens(seconds_ago=5 - ahead))
    assert answer.status_code in (202, 303), answer.text


def test_a_machine_that_fills_the_form_at_once_is_refused_as_ever(visitor: Visitor) -> None:
    assert visitor.asks(altcha=visitor.works(seconds_ago=0)).status_code == 400
    assert visitor.asks(altcha=visitor.works(seconds_ago=-3600)).status_code == 400
