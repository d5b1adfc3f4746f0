"""Flow 5 of the contract, and flow 2 beside it, on a platform whose network elements are real HTTP servers.

Refused for good, the money goes back and the customer is told; with each fault of an element switched on, the outcome
is the same, once.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from common import ids
from dev.element import SHARES, ElementServer
from tests.support.customer import Customer
from tests.support.eventually import eventually
from tests.support.platform import Platform

pytestmark = pytest.mark.platform
PATIENCE = 30.0


@pytest.fixture(scope="module")
def element() -> Iterator[ElementServer]:
    made = ElementServer(seed=5)
    thread = threading.Thread(target=made.serve_forever, args=(0.05,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def platform(request: pytest.FixtureRequest, element: ElementServer) -> Iterator[Platform]:
    env = {
        "PROVISIONING_ELEMENT_DRIVER": "http",
        "PROVISIONING_ELEMENT_URLS": ",".join(
            f"{kind}={element.url}/{kind}" for kind in ("ocs", "hlr", "crbt", "smsc")
        ),
        "PROVISIONING_ELEMENT_TIMEOUT_S": "1",
        "PROVISIONING_ELEMENT_LEASE_S": "5",
        "PROVISIONING_ELEMENT_OPEN_S": "0.5",
    }
    without = ("chat-web", "chat-worker")
    with Platform(databases=request.param, env=env, seed=True, without=without) as running:
        yield running


@pytest.fixture
def customer(platform: Platform) -> Iterator[Customer]:
    with Customer(platform.url) as made:
        yield made


@contextmanager
def faulty(element: ElementServer, fault: str) -> Iterator[None]:
    """Have every call fail until the platform has tried twice."""
    calls = element.calls
    if fault != "none":
        element.faults = element.faults | {fault: 1.0, "late_s": 1.2}
    try:
        yield
        eventually(lambda: fault == "none" or element.calls >= calls + 2, within=PATIENCE)
    finally:
        element.faults = element.faults | dict.fromkeys(SHARES, 0.0)


def order_tone(customer: Customer, tone: str) -> dict[str, Any]:
    items = customer.get("/api/provisioning/offerings", category="ring_back_tone", limit=100).json()["items"]
    offering = next(item for item in items if item["code"] == "ring-back-tone")
    body = {"offering_id": offering["id"], "characteristics": {"ring_tone": tone}}
    answer = customer.post("/api/provisioning/orders", body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def check_refunded(customer: Customer, order: dict[str, Any]) -> None:
    customer.await_state(f"/api/provisioning/orders/{order['id']}", "failed", PATIENCE)
    (payment,) = (
        item
        for item in customer.get("/api/payment/payments").json()["items"]
        if item["reference"]["id"] == order["id"]
    )
    customer.await_state(f"/api/payment/payments/{payment['id']}", "refunded", PATIENCE)
    customer.await_notification("order.failed", PATIENCE)
    customer.await_notification("payment.refunded", PATIENCE)


@pytest.mark.parametrize("fault", ["none", *SHARES])
def test_flows_2_and_5_hold_with_a_faulty_element_and_take_effect_once(
    customer: Customer, element: ElementServer, fault: str
) -> None:
    effects = element.effects
    refused, pack = order_tone(customer, "withdrawn"), customer.order()
    with faulty(element, fault):
        for order in (refused, pack):
            assert customer.pay("order", order, order["total"]).status_code == 201
    check_refunded(customer, refused)
    history = customer.get(f"/api/provisioning/orders/{refused['id']}").json()["history"]
    assert "refused_by_network" in [line["reason"] for line in history]
    customer.await_state(f"/api/provisioning/orders/{pack['id']}", "completed", PATIENCE)
    assert customer.await_notification("service.activated", PATIENCE)
    (service,) = customer.get("/api/provisioning/services", state="active").json()["items"]
    assert service["order_id"] == pack["id"]
    assert element.effects == effects + 2


def test_flow_5_money_from_the_wallet_goes_back_into_the_wallet(customer: Customer) -> None:
    wallet = "/api/payment/wallet"
    eventually(lambda: customer.get(wallet).status_code == 200)
    amount = {"amount_minor": 10_000, "currency": "LKR"}
    topped_up = customer.pay("top_up", {"id": None}, amount)
    assert topped_up.status_code == 201, topped_up.text
    eventually(lambda: customer.get(wallet).json()["balance"] == amount)
    order = order_tone(customer, "withdrawn")
    body = {
        "reference": {"type": "order", "id": order["id"]},
        "amount": order["total"],
        "method": {"type": "wallet"},
    }
    paid = customer.post("/api/payment/process", body, key=ids.new_id())
    assert paid.status_code == 201, paid.text
    check_refunded(customer, order)
    assert customer.get(wallet).json()["balance"] == amount
