"""`make demo`: a new customer's story through the gateway, each step with its time.

Tolerates any process of the platform dying on the way: requests are repeated with their key, and what happens behind
the answers is waited for.
"""

import random
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from dev import containers
from dev.client import Api, Refused, eventually
from dev.environment import Layout, current
from dev.seed import Bill, Person, issue_invoice, plant, read_people
from dev.terminal import Trouble, run, say

CARD_NUMBER = "4242424242424242"
CARD = {
    "number": CARD_NUMBER,
    "exp_month": 12,
    "exp_year": time.gmtime().tm_year + 2,
    "cvc": "123",
    "name": "Demo Customer",
}
BILL = Bill("Fibre 100 monthly rental", 349_000)

Result = TypeVar("Result")


def main() -> None:
    layout = current()
    admin_login = _admin_login(layout)
    began = time.monotonic()
    customer, admin = Api(layout.public_url), Api(layout.public_url)
    try:
        user_id = _register(customer)
        _buy_a_data_pack(customer)
        admin.login(admin_login.phone, admin_login.password)
        _pay_a_bill(customer, admin, user_id)
        _show_notifications(customer)
    except Refused as refusal:
        raise Trouble(str(refusal)) from None
    finally:
        customer.close()
        admin.close()
    say(f"the whole story took {time.monotonic() - began:.1f} s")


def _admin_login(layout: Layout) -> Person:
    """The operator's administrator, whom `make up` made; in containers the first demo does."""
    people = read_people(layout.home)
    if not people and containers.are_running():
        say("seeding the demo operator")
        plant(replace(layout, variables={**layout.variables, "SRICARE_OPERATE": containers.OPERATE}))
        people = read_people(layout.home)
    if "admin" not in people:
        raise Trouble("the demo operator is not there: start the platform with `make up` first")
    return people["admin"]


def _register(customer: Api) -> str:
    phone = f"+9477{random.randrange(2_000_000, 9_999_999)}"  # noqa: S311 (any free number will do)
    body = {"phone": phone, "password": secrets.token_urlsafe(12), "name": "Demo Customer"}
    answer = _step(f"register {phone}", lambda: customer.post("/api/auth/register", body))
    customer.token = answer["access_token"]
    _step("welcomed in the inbox", lambda: _notified(customer, "user.created"))
    account = _await("a billing account", lambda: customer.get("/api/billing/account"))
    _await("a wallet", lambda: customer.get("/api/payment/wallet"))
    say(f"{'':>11}the account is {account['number']}")
    return str(answer["user"]["id"])


def _buy_a_data_pack(customer: Api) -> None:
    offering = _step("choose a data pack", lambda: _cheapest_data_pack(customer))
    order = _step(
        f"order {offering['name']} for {_money(offering['price'])}",
        lambda: customer.post("/api/provisioning/orders", {"offering_id": offering["id"]}),
    )
    _pay(customer, "order", order["id"], order["total"])
    _await(
        "the order is completed",
        lambda: _when(customer.get(f"/api/provisioning/orders/{order['id']}"), "completed"),
    )
    service = _await("the service is active", lambda: _active_service(customer))
    for allowance in service.get("allowances", []):
        say(f"{'':>11}{allowance['granted'] - allowance['used']} {allowance['kind']} to use")
    _step("told of the payment", lambda: _notified(customer, "payment.completed"))
    _step("told of the activation", lambda: _notified(customer, "service.activated"))


def _pay_a_bill(customer: Api, admin: Api, user_id: str) -> None:
    invoice = _step("the operator issues an invoice", lambda: issue_invoice(admin, user_id, BILL))
    path = f"/api/billing/invoices/{invoice['id']}"
    due = _await("the customer sees it", lambda: customer.get(path))["amount_due"]
    _pay(customer, "invoice", invoice["id"], due)
    _await("the invoice is paid", lambda: _when(customer.get(path), "paid"))
    _step("told of the paid invoice", lambda: _notified(customer, "invoice.paid"))


def _pay(customer: Api, kind: str, reference: str, amount: dict[str, Any]) -> None:
    body = {
        "reference": {"type": kind, "id": reference},
        "amount": amount,
        "method": {"type": "card", "card": CARD},
    }
    label = f"pay {_money(amount)} by card {CARD_NUMBER[-4:]}"
    payment = _step(label, lambda: customer.post("/api/payment/process", body))
    path = f"/api/payment/payments/{payment['id']}"
    _await("the payment is completed", lambda: _when(customer.get(path), "completed"))


def _show_notifications(customer: Api) -> None:
    say("the customer's inbox")
    for item in reversed(customer.get("/api/notifications", limit="50")["items"]):
        say(f"{'':>11}{item['title']}: {item['body'].splitlines()[0]}")


def _cheapest_data_pack(customer: Api) -> dict[str, Any]:
    offerings = customer.get("/api/provisioning/offerings", limit="100")["items"]
    packs = [o for o in offerings if "data" in o["category"] and o["price"]["amount_minor"] > 0]
    if not packs:
        raise Trouble("the catalogue holds no data pack")
    return min(packs, key=lambda offering: int(offering["price"]["amount_minor"]))


def _active_service(customer: Api) -> dict[str, Any] | None:
    services = customer.get("/api/provisioning/services")["items"]
    return next((service for service in services if service["state"] == "active"), None)


def _notified(customer: Api, event_type: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        items = customer.get("/api/notifications", limit="50")["items"]
        return next((item for item in items if item["event_type"] == event_type), None)

    return eventually(f"a notification of {event_type}", look)


def _when(thing: dict[str, Any], state: str) -> dict[str, Any] | None:
    return thing if thing["state"] == state else None


def _money(amount: dict[str, Any]) -> str:
    return f"{amount['currency']} {amount['amount_minor'] / 100:,.2f}"


def _await(what: str, look: Callable[[], Result | None]) -> Result:
    return _step(what, lambda: eventually(what, look))


def _step(what: str, act: Callable[[], Result]) -> Result:
    began = time.perf_counter()
    result = act()
    say(f"{(time.perf_counter() - began) * 1000:>7.0f} ms  {what}")
    return result


if __name__ == "__main__":
    run(main)
