"""Whatever dies or refuses on the way, what was accepted comes true once: flow 6, kills in the middle of flows 2 and 3,
and flows 2 and 5 with each fault of the network elements, which are real HTTP servers here."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from common import ids
from dev.element import SHARES, ElementServer
from tests.support import deployed
from tests.support.customer import Admin, Customer
from tests.support.deployed import Deployed
from tests.support.eventually import eventually
from tests.support.platform import Platform
from tests.support.provisioning import element_server

pytestmark = pytest.mark.platform

PATIENCE = 60.0
KILLED = (
    "auth-web", "auth-worker", "billing-web", "billing-worker", "payment-web", "payment-worker", "provisioning-web",
    "provisioning-worker", "notification-web", "notification-worker", "gateway",
)  # fmt: skip

ON_SQLITE_ONLY = ("auth-web", "auth-worker", "provisioning-web", "notification-web", "gateway")
"""Of these the database makes no difference that tests of their own do not show on both."""


@pytest.fixture(scope="module")
def element() -> Iterator[ElementServer]:
    if deployed.find():
        pytest.skip("needs a platform whose network elements are the test's")
    with element_server(seed=5) as serving:
        yield serving


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def platform(request: pytest.FixtureRequest) -> Iterator[Platform | Deployed]:
    if found := deployed.find():
        if request.param != "sqlite":
            pytest.skip("runs once, on whatever databases it is that the platform has")
        yield found
        return
    element = request.getfixturevalue("element")
    env = {
        "PROVISIONING_ELEMENT_DRIVER": "http",
        "PROVISIONING_ELEMENT_URLS": ",".join(
            f"{kind}={element.url}/{kind}" for kind in ("ocs", "hlr", "crbt", "smsc")
        ),
        "PROVISIONING_ELEMENT_TIMEOUT_S": "1",
        "PROVISIONING_ELEMENT_LEASE_S": "5",
        "PROVISIONING_ELEMENT_OPEN_S": "0.5",
    }
    with Platform(databases=request.param, env=env, seed=True) as running:
        yield running


def admin_of(platform: Platform) -> Admin:
    person = platform.people["admin"]
    return Admin(platform.url, person.phone, person.password)


def check_once(customer: Customer, order: dict, invoice: dict) -> None:
    """One payment each, one service, one message each: nothing lost, doubled or invented."""
    customer.await_state(f"/api/provisioning/orders/{order['id']}", "completed", PATIENCE)
    customer.await_state(f"/api/billing/invoices/{invoice['id']}", "paid", PATIENCE)
    eventually(lambda: len(customer.notifications("payment.completed")) == 2, within=PATIENCE)
    customer.await_notification("service.activated", PATIENCE)
    customer.await_notification("invoice.paid", PATIENCE)
    payments = customer.get("/api/payment/payments").json()["items"]
    assert sorted(payment["reference"]["id"] for payment in payments) == sorted([order["id"], invoice["id"]])
    assert {payment["state"] for payment in payments} == {"completed"}
    services = customer.get("/api/provisioning/services").json()["items"]
    assert [service["state"] for service in services] == ["active"]


def test_flow_6_everything_is_accepted_without_the_broker_and_completes_after_it_returns(
    platform: Platform,
) -> None:
    with Customer(platform.url) as customer, admin_of(platform) as admin:
        eventually(lambda: customer.get("/api/billing/account").status_code == 200)
        customer.await_notification("user.created")
        platform.stop_broker()
        try:
            eventually(lambda: says_that_the_broker_is_away(platform))
            assert httpx.get(f"{platform.service_url('payment')}/ready", timeout=30).status_code == 200
            invoice = admin.issue_invoice(customer.id, 120_000)
            order = customer.order()
            assert customer.pay("order", order, order["total"]).status_code == 201
            assert customer.pay("invoice", invoice, invoice["amount_due"]).status_code == 201
        finally:
            platform.start_broker()
        check_once(customer, order, invoice)


def says_that_the_broker_is_away(platform: Platform) -> bool:
    health = httpx.get(f"{platform.service_url('payment')}/health", timeout=30)
    broker: str = health.json()["dependencies"]["broker"]["status"]
    return (health.status_code, broker) == (503, "down")


@pytest.mark.parametrize("name", KILLED)
def test_a_process_killed_in_the_middle_delays_and_loses_nothing(
    platform: Platform, name: str, request: pytest.FixtureRequest
) -> None:
    if name in ON_SQLITE_ONLY and request.node.callspec.params["platform"] != "sqlite":
        pytest.skip("killed on SQLite")
    with Customer(platform.url) as customer, admin_of(platform) as admin:
        invoice = admin.issue_invoice(customer.id, 120_000)
        order = customer.order()
        killer = threading.Timer(0.01, platform.kill, (name, signal.SIGKILL))
        killer.start()
        persist(lambda: customer.pay("order", order, order["total"], key=order["id"]))
        persist(lambda: customer.pay("invoice", invoice, invoice["amount_due"], key=invoice["id"]))
        killer.join()
        eventually(lambda: _check(customer, order, invoice), within=PATIENCE)
        platform.wait_ready()


def _check(customer: Customer, order: dict, invoice: dict) -> bool:
    try:
        check_once(customer, order, invoice)
    except (httpx.TransportError, KeyError, ValueError):
        return False  # the process that was killed is not back yet
    return True


def persist(ask) -> None:
    """Repeat a request with its key, as a client does, until it is answered."""
    answers: list[httpx.Response] = []

    def done() -> bool:
        try:
            answers.append(ask())
        except httpx.TransportError:
            return False
        again = {409: "request_in_progress", 502: "", 503: ""}
        return answers[-1].status_code not in again or (
            answers[-1].status_code == 409 and answers[-1].json()["code"] != "request_in_progress"
        )

    eventually(done, within=PATIENCE)
    assert answers[-1].status_code == 201, answers[-1].text


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
