"""Provisioning in a test: a customer who buys, and a network that the test carries commands to by itself."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from flask.testing import FlaskClient

from common import clock, ids
from common.db import reading
from common.messaging import Event
from dev.element import ElementServer
from provisioning import queries
from provisioning.gateway import Answer, Call, Faults, NetworkElements, Sight, SimulatedElements
from provisioning.handlers import HANDLERS
from provisioning.jobs import claim, make_call, settle
from provisioning.models import CallRules, Command, Element
from tests.support.services import an_event, bearer, deliver

LEASE = timedelta(seconds=30)
QUARANTINE = timedelta(days=180)
RULES = CallRules(lease=LEASE, rate_per_s=1000, burst=1000, open_after=5, open_for=timedelta(seconds=10))


@contextmanager
def element_server(seed: int = 0) -> Iterator[ElementServer]:
    """REST elements of all kinds, with faults to switch on."""
    made = ElementServer(seed=seed)
    thread = threading.Thread(target=made.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield made
    finally:
        made.shutdown()
        thread.join()
        made.server_close()


def carry_out(
    command_id: str, elements: NetworkElements, rules: CallRules, quarantine: timedelta, *others: str
) -> None:
    """One attempt at each of some commands of one element, as the worker makes it."""
    with reading() as session:
        element = session.get_one(Command, command_id).service.element
    calls = claim([command_id, *others], element, rules)
    if answered := [make_call(call, elements) for call in calls]:
        settle(answered, element, rules, quarantine)


class Network(NetworkElements):
    """Simulated elements that remember what they were told, and die or fail when told to."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.before: list[Callable[[], None]] = []
        self.after: list[Callable[[], None]] = []
        self.answers: list[Answer] = []
        self._elements = SimulatedElements(Faults(refuses=frozenset({"withdrawn", "AQ"})))

    def execute(self, call: Call) -> Answer:
        self.calls.append(call)
        if self.before:
            self.before.pop(0)()
        answer = self.answers.pop(0) if self.answers else self._elements.execute(call)
        if self.after:
            self.after.pop(0)()
        return answer

    def inspect(self, element: Element, service_id: str) -> Sight:
        return self._elements.inspect(element, service_id)

    def carry_out_all(self) -> int:
        """Carry out what is due until nothing is; returns the number of commands tried."""
        tried = 0
        while due := all_due():
            for command_id in due:
                carry_out(command_id, self, RULES, QUARANTINE)
                tried += 1
        return tried


def all_due() -> list[str]:
    """The commands that are due on any element."""
    with reading() as session:
        return [
            command_id
            for kind in Element
            for command_id in queries.due_commands(session, kind, RULES, 100)[0]
        ]


class Shopper:
    """A customer with a browser."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client
        self.user_id = ids.new_id()
        self.headers = bearer(self.user_id)

    def offering(self, code: str) -> dict[str, Any]:
        items = self.get("/offerings?limit=100").json["items"]
        return next(dict(item) for item in items if item["code"] == code)

    def order(self, code: str, *, key: str | None = None, **characteristics: str) -> Any:
        body: dict[str, Any] = {"offering_id": self.offering(code)["id"]}
        if characteristics:
            body["characteristics"] = characteristics
        headers = self.headers | {"Idempotency-Key": key or ids.new_id()}
        return self.client.post("/api/provisioning/orders", json=body, headers=headers)

    def buy(self, code: str, **characteristics: str) -> dict[str, Any]:
        """Order and pay; the network is still to be told."""
        order = self.order(code, **characteristics)
        assert order.status_code == 201, order.text
        if order.json["total"]["amount_minor"]:
            self.pay(order.json)
        return dict(order.json)

    def pay(self, order: dict[str, Any], **changes: Any) -> None:
        deliver(HANDLERS, self.payment(order, **changes))

    def payment(self, order: dict[str, Any], kind: str = "payment.completed", **changes: Any) -> Event:
        data = {
            "payment_id": ids.new_id(),
            "user_id": self.user_id,
            "reference": {"type": "order", "id": order["id"]},
            "amount": order["total"],
            "method": {"type": "card", "brand": "visa", "last4": "4242"},
            "completed_at": clock.rfc3339(clock.now()),
        }
        return an_event(kind, self.user_id, data | changes)

    def get(self, path: str) -> Any:
        return self.client.get(f"/api/provisioning{path}", headers=self.headers)

    def order_now(self, order: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/orders/{order['id']}").json
        return found

    def services(self, state: str | None = None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("/services" + (f"?state={state}" if state else "")).json[
            "items"
        ]
        return found
