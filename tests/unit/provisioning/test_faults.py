"""Flows 2 and 5 with each fault of the elements in turn: what was paid is on once, or has failed once so that its money
goes back, and nothing else waits for it."""

from datetime import UTC, datetime, timedelta

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select

from common import clock
from common.db import reading
from dev.element import SHARES, ElementServer
from provisioning.gateway import Faults, HttpElements, NetworkElements, SimulatedElements
from provisioning.models import Element, SimulatedAnswer
from provisioning.queries import due_commands
from tests.support.provisioning import QUARANTINE, RULES, Network, Shopper, all_due, carry_out
from tests.support.services import bearer, emitted

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
REFUSES = frozenset({"withdrawn"})
SIMULATED = {
    "fails": Faults(REFUSES, failure_rate=1.0, seed=4),
    "answers_too_late": Faults(REFUSES, failure_rate=1.0, late_s=0.001, seed=5),
    "is_away": Faults(REFUSES, outage_s=1, outage_every_s=1),
}


class Story:
    """Two customers of ring-back tones, of which the element refuses one for good, and a feature on another element."""

    def __init__(self, client: FlaskClient) -> None:
        self.buyer, self.unlucky = Shopper(client), Shopper(client)
        self.tone = self.buyer.buy("ring-back-tone", ring_tone="baila-beat")
        self.refused = self.unlucky.buy("ring-back-tone", ring_tone="withdrawn")
        self.feature = self.buyer.buy("call-waiting")

    def states(self) -> tuple[str, str, str]:
        return (
            self.buyer.order_now(self.tone)["state"],
            self.unlucky.order_now(self.refused)["state"],
            self.buyer.order_now(self.feature)["state"],
        )

    def plays(self, faulty: NetworkElements, elements: NetworkElements) -> None:
        tell(Element.RING_BACK_TONES, faulty)
        assert self.states() == ("in_progress", "in_progress", "acknowledged")
        tell(Element.SUBSCRIBER_REGISTER, elements)
        assert self.states() == ("in_progress", "in_progress", "completed")
        assert emitted("order.failed") == []

    def ends(self, elements: NetworkElements) -> None:
        clock.move(timedelta(seconds=1))
        tell(Element.RING_BACK_TONES, elements)
        assert self.states() == ("completed", "failed", "completed")
        clock.move(timedelta(minutes=10))
        assert all_due() == []
        activated = [event.data["order_id"] for event in emitted("service.activated")]
        assert activated == [self.feature["id"], self.tone["id"]]
        (failed,) = emitted("order.failed")
        assert (failed.data["order_id"], failed.data["reason"]) == (self.refused["id"], "refused_by_network")


def tell(element: Element, elements: NetworkElements) -> None:
    with reading() as session:
        (first, *others), _ = due_commands(session, element, RULES, 10)
    carry_out(first, elements, RULES, QUARANTINE, *others)


@pytest.mark.parametrize("fault", SIMULATED)
def test_an_order_is_on_or_refunded_once_though_its_simulated_element_is_faulty(
    client: FlaskClient, fault: str
) -> None:
    healthy = SimulatedElements(Faults(REFUSES))
    with clock.frozen(NOON):
        story = Story(client)
        story.plays(SimulatedElements(SIMULATED[fault]), healthy)
        story.ends(healthy)
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(SimulatedAnswer)) == 3


@pytest.mark.parametrize("fault", SHARES)
def test_an_order_is_on_or_refunded_once_though_its_rest_element_is_faulty(
    client: FlaskClient, server: ElementServer, elements: HttpElements, impatient: HttpElements, fault: str
) -> None:
    with clock.frozen(NOON):
        story = Story(client)
        server.faults = server.faults | {fault: 1.0, "late_s": 5.0}
        late = fault == "late"
        story.plays(impatient if late else elements, SimulatedElements(Faults()))
        server.faults = server.faults | {fault: 0.0}
        story.ends(elements)
    assert server.effects == 2


def test_every_order_is_activated_once_under_random_faults(shopper: Shopper, network: Network) -> None:
    elements = SimulatedElements(Faults(failure_rate=0.6, outage_s=300, outage_every_s=900, seed=7))
    with clock.frozen(NOON):
        shopper.headers = bearer(shopper.user_id)
        for _ in range(10):
            shopper.buy("sms-100")
        for _ in range(40):
            for command_id in all_due():
                carry_out(command_id, elements, RULES, QUARANTINE)
            clock.move(timedelta(minutes=1))
    assert len(emitted("service.activated")) == 10
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(SimulatedAnswer)) == 10
