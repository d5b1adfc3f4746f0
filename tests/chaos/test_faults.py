"""Whatever dies on the way, what was accepted comes true once: flow 6, and kills in the middle of flows 2 and 3."""

import signal
import threading
from collections.abc import Iterator

import httpx
import pytest

from tests.support.customer import Admin, Customer
from tests.support.eventually import eventually
from tests.support.platform import Platform

pytestmark = pytest.mark.platform

PATIENCE = 60.0
KILLED = (
    "auth-web", "auth-worker", "billing-web", "billing-worker", "payment-web", "payment-worker", "provisioning-web",
    "provisioning-worker", "notification-web", "notification-worker", "gateway",
)  # fmt: skip


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def platform(request: pytest.FixtureRequest) -> Iterator[Platform]:
    with Platform(databases=request.param, seed=True) as running:
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
            health = eventually_unhealthy(platform)
            assert health["dependencies"]["broker"]["status"] == "down"
            assert httpx.get(f"{platform.service_url('payment')}/ready", timeout=5).status_code == 200
            invoice = admin.issue_invoice(customer.id, 120_000)
            order = customer.order()
            assert customer.pay("order", order, order["total"]).status_code == 201
            assert customer.pay("invoice", invoice, invoice["amount_due"]).status_code == 201
        finally:
            platform.start_broker()
        check_once(customer, order, invoice)


def eventually_unhealthy(platform: Platform) -> dict:
    def look() -> bool:
        return httpx.get(f"{platform.service_url('payment')}/health", timeout=5).status_code == 503

    eventually(look, within=10)
    return dict(httpx.get(f"{platform.service_url('payment')}/health", timeout=5).json())


@pytest.mark.parametrize("name", KILLED)
def test_a_process_killed_in_the_middle_delays_and_loses_nothing(platform: Platform, name: str) -> None:
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
