"""The flows of the contract's section 9, through the gateway of a platform of real processes."""

import json
import os
import re
import subprocess
import sys
import time

import httpx
import pytest

from dev.environment import ROOT
from tests.support.customer import PASSWORD, Admin, Customer
from tests.support.eventually import crowding, eventually
from tests.support.platform import Platform
from tests.support.secrecy import tells

pytestmark = pytest.mark.platform

EVERYWHERE = (
    "/api/auth/me",
    "/api/billing/account",
    "/api/payment/wallet",
    "/api/provisioning/services",
    "/api/notifications",
    "/api/chat/conversations",
)


@pytest.fixture
def customer(platform: Platform):
    with Customer(platform.url) as made:
        yield made


@pytest.fixture
def admin(platform: Platform):
    person = platform.people["admin"]
    with Admin(platform.url, person.phone, person.password) as made:
        yield made


def test_flow_1_a_new_customer_is_welcomed_and_has_account_and_wallet_within_two_seconds(
    platform: Platform,
) -> None:
    with Customer(platform.url) as customer:
        began = time.monotonic()
        eventually(lambda: customer.notifications("user.created"), within=2)
        eventually(lambda: customer.get("/api/billing/account").status_code == 200, within=2)
        eventually(lambda: customer.get("/api/payment/wallet").status_code == 200, within=2)
        assert time.monotonic() - began < 2 * crowding()
        account = customer.get("/api/billing/account").json()
        assert account["number"].startswith("STL-")
        assert account["status"] == "active"
        assert customer.get("/api/auth/me").json()["id"] == customer.id


def test_flow_2_a_data_pack_bought_with_a_card_is_active_and_told(customer: Customer) -> None:
    order = customer.order()
    assert order["state"] == "pending_payment"
    paid = customer.pay("order", order, order["total"])
    assert paid.status_code == 201, paid.text
    customer.await_state(f"/api/provisioning/orders/{order['id']}", "completed")
    (service,) = customer.get("/api/provisioning/services").json()["items"]
    assert service["state"] == "active"
    assert service["allowances"][0]["granted"] > 0
    assert service["allowances"][0]["used"] == 0
    customer.await_notification("payment.completed")
    customer.await_notification("service.activated")
    (payment,) = customer.get("/api/payment/payments").json()["items"]
    assert payment["state"] == "completed"
    assert payment["method"] == {"type": "card", "brand": "visa", "last4": "4242"}


def test_paying_right_after_ordering_just_works_every_time(customer: Customer) -> None:
    orders = []
    for _ in range(5):
        order = customer.order()
        assert customer.pay("order", order, order["total"]).status_code == 201
        orders.append(order)
    for order in orders:
        customer.await_state(f"/api/provisioning/orders/{order['id']}", "completed")


def test_a_free_service_needs_no_payment(customer: Customer) -> None:
    offering = customer.offering("call_waiting", free=True)
    order = customer.post("/api/provisioning/orders", {"offering_id": offering["id"]}).json()
    customer.await_state(f"/api/provisioning/orders/{order['id']}", "completed")
    again = customer.post("/api/provisioning/orders", {"offering_id": offering["id"]})
    assert (again.status_code, again.json()["code"]) == (409, "already_active")


def test_flow_3_a_bill_is_paid_once_and_told(customer: Customer, admin: Admin) -> None:
    invoice = admin.issue_invoice(customer.id, 250_000)
    path = f"/api/billing/invoices/{invoice['id']}"
    assert customer.state_of(path) == "issued"
    amount = customer.get(path).json()["amount_due"]
    assert customer.pay("invoice", invoice, amount).status_code == 201
    customer.await_state(path, "paid")
    assert customer.get(path).json()["amount_due"]["amount_minor"] == 0
    customer.await_notification("invoice.paid")
    again = customer.pay("invoice", invoice, amount)
    assert (again.status_code, again.json()["code"]) == (409, "already_paid")
    balance = admin.get("/api/billing/admin/ledger/trial-balance").json()
    assert "0" in str(balance)


def test_a_declined_card_takes_nothing_and_another_one_pays(customer: Customer) -> None:
    order = customer.order()
    declined = customer.pay("order", order, order["total"], number="4000000000000002")
    assert (declined.status_code, declined.json()["code"]) == (402, "card_declined")
    assert declined.json()["payment"]["state"] == "failed"
    assert customer.pay("order", order, order["total"]).status_code == 201
    customer.await_state(f"/api/provisioning/orders/{order['id']}", "completed")


def test_one_key_charges_once_and_answers_alike(customer: Customer) -> None:
    order = customer.order()
    first = customer.pay("order", order, order["total"], key="the-key")
    again = customer.pay("order", order, order["total"], key="the-key")
    assert first.status_code == again.status_code == 201
    assert first.content == again.content
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(customer.get("/api/payment/payments").json()["items"]) == 1


def test_what_is_another_customers_is_unknown(platform: Platform, customer: Customer, admin: Admin) -> None:
    order = customer.order()
    invoice = admin.issue_invoice(customer.id, 100)
    with Customer(platform.url) as stranger:
        eventually(lambda: stranger.get("/api/billing/account").status_code == 200)
        assert stranger.get(f"/api/provisioning/orders/{order['id']}").status_code == 404
        assert stranger.get(f"/api/billing/invoices/{invoice['id']}").status_code == 404
        eventually(lambda: customer.get(f"/api/billing/invoices/{invoice['id']}").status_code == 200)
        paid = stranger.pay("order", order, order["total"])
        assert (paid.status_code, paid.json()["code"]) == (404, "not_found")
        assert stranger.post(f"/api/provisioning/orders/{order['id']}/cancel").status_code == 404
        assert stranger.post("/api/billing/admin/invoices").status_code == 403
    assert customer.state_of(f"/api/provisioning/orders/{order['id']}") == "pending_payment"


def test_the_wrong_amount_is_refused(customer: Customer) -> None:
    order = customer.order()
    wrong = {**order["total"], "amount_minor": order["total"]["amount_minor"] - 1}
    eventually(lambda: customer.pay("order", order, wrong).json().get("code") == "amount_mismatch")


def test_signing_out_is_known_everywhere_within_two_seconds(customer: Customer) -> None:
    assert customer.get("/api/provisioning/orders").status_code == 200
    assert customer.post("/api/auth/logout").status_code == 204
    for path in ("/api/auth/me", "/api/provisioning/orders", "/api/payment/wallet", "/api/notifications"):
        eventually(lambda path=path: customer.get(path).status_code == 401, within=2)


@pytest.mark.parametrize("path", ["/live", "/ready", "/health", "/metrics", "/", "/api/nothing"])
def test_the_gateway_shows_only_the_api(platform: Platform, path: str) -> None:
    answer = httpx.get(platform.url + path, timeout=15)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("application/problem+json")


def test_every_service_is_healthy_and_shows_its_documents(platform: Platform) -> None:
    prefixes = ("auth", "billing", "payment", "provisioning", "notifications", "chat")
    for service, prefix in zip(platform.ports, prefixes, strict=True):
        url = platform.service_url(service)
        eventually(lambda url=url: healthy(url))
        assert "http_requests_total" in httpx.get(f"{url}/metrics", timeout=30).text
        assert httpx.get(f"{platform.url}/api/{prefix}/openapi.json", timeout=30).status_code == 200
        assert httpx.get(f"{platform.url}/api/{prefix}/apidocs/", timeout=30).status_code == 200


def healthy(url: str) -> bool:
    """A worker that gets no time for its heartbeat is given it."""
    health = httpx.get(f"{url}/health", timeout=30)
    assert health.status_code == 200, health.text
    return True


def test_a_request_id_can_be_followed_into_logs_and_events(
    platform: Platform, customer: Customer, admin: Admin
) -> None:
    offering = customer.offering("data")
    answer = customer.http.post(
        "/api/provisioning/orders",
        json={"offering_id": offering["id"]},
        headers={"Idempotency-Key": "k", "X-Request-ID": "follow-me-7"},
    )
    assert answer.headers["X-Request-ID"] == "follow-me-7"
    eventually(lambda: "follow-me-7" in platform.log("provisioning-web", 100_000))

    def recorded() -> bool:
        entries = admin.get("/api/auth/admin/audit-log", user_id=customer.id, action="order.created").json()[
            "items"
        ]
        return "follow-me-7" in [entry["correlation_id"] for entry in entries]

    eventually(recorded)


def code_sent_to(platform: Platform, phone: str) -> str | None:
    """The code in the newest message to a number that the SMS sink has."""
    for text in reversed(platform.sms()):
        found = re.search(r"\b(\d{6}) is your code for a new password", text)
        if phone in text and found:
            return found[1]
    return None


def test_flow_7_a_reset_by_the_code_from_the_sms_and_closing_the_account_end_sessions_everywhere(
    platform: Platform,
) -> None:
    new = "another good password"
    with Customer(platform.url) as customer:
        for path in EVERYWHERE:
            eventually(lambda path=path: customer.get(path).status_code == 200)

        def post(path: str, body: dict[str, str]) -> httpx.Response:
            return httpx.post(
                f"{platform.url}/api/auth/{path}", json={"phone": customer.phone} | body, timeout=15
            )

        assert post("password/forgot", {}).status_code == 202
        code = eventually(lambda: code_sent_to(platform, customer.phone))
        assert post("password/reset", {"code": code, "new_password": new}).status_code == 204
        for path in EVERYWHERE:
            eventually(lambda path=path: customer.get(path).status_code == 401, within=2)
        refreshed = httpx.post(
            f"{platform.url}/api/auth/refresh",
            json={"refresh_token": customer.tokens["refresh_token"]},
            timeout=15,
        )
        assert refreshed.status_code == 401
        assert post("login", {"password": PASSWORD}).status_code == 401
        again = post("login", {"password": new})
        assert again.status_code == 200
        headers = {"Authorization": f"Bearer {again.json()['access_token']}"}
        inbox = eventually(
            lambda: [
                item
                for item in httpx.get(
                    f"{platform.url}/api/notifications", headers=headers, timeout=15
                ).json()["items"]
                if item["event_type"] == "user.password.changed"
            ]
        )
        assert not tells(json.dumps(inbox), code)
        assert httpx.delete(f"{platform.url}/api/auth/me", headers=headers, timeout=15).status_code == 204
        for path in EVERYWHERE:
            closed = f"{platform.url}{path}"
            eventually(
                lambda url=closed: httpx.get(url, headers=headers, timeout=15).status_code == 401, within=2
            )
    for process in ("auth-web", "auth-worker"):
        assert not tells(platform.log(process, 1_000_000), code)


def test_the_demo_comes_to_its_end(platform: Platform) -> None:
    environment = {**os.environ, "SRICARE_HOME": str(platform.home.path), "PUBLIC_URL": platform.url}
    demo = subprocess.run(
        [sys.executable, "-m", "dev.demo"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (demo.returncode, demo.stderr) == (0, "")
    assert "the service is active" in demo.stdout
    assert "told of the paid invoice" in demo.stdout
