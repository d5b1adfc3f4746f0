"""What tests of billing start from: a customer with an account, an invoice, a payment of it."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import insert
from werkzeug.test import TestResponse

from billing import worker
from billing.handlers import HANDLERS
from billing.models import Account, AccountKind, AccountStatus, Plan, Subscription, SubscriptionTerm
from billing.models.tariffs import RATES
from common import clock, ids
from common.db import transaction
from common.messaging import Event
from tests.support.services import an_event, bearer, deliver

ADMIN = ids.new_id()


def open_account(user_id: str | None = None, **profile: Any) -> str:
    """The id of a user who has an account now."""
    user_id = user_id or ids.new_id()
    deliver(HANDLERS, an_account_event(user_id, **profile))
    return user_id


def an_account_event(user_id: str, **profile: Any) -> Event:
    """`user.created`, from which the account is made."""
    data = {
        "user_id": user_id,
        "phone": "+94771234567",
        "email": None,
        "name": "Nimali Perera",
        "language": "en",
        "roles": ["customer"],
        "created_at": clock.rfc3339(clock.now()),
    }
    return an_event("user.created", user_id, data | profile)


def rupees(amount: float, currency: str = "LKR") -> dict[str, Any]:
    return {"amount_minor": amount, "currency": currency}


def a_line(amount: float, **changes: Any) -> dict[str, Any]:
    return {"description": "Fibre 100 monthly rental", "quantity": 1, "unit_price": rupees(amount)} | changes


def bill(
    client: FlaskClient, user_id: str, amount: int = 120_000, due_on: str = "2026-12-05"
) -> dict[str, Any]:
    """An invoice as it is answered when issued."""
    answer = client.post(
        "/api/billing/admin/invoices",
        json={"user_id": user_id, "lines": [a_line(amount)], "due_on": due_on},
        headers=bearer(ADMIN, "admin", key=ids.new_id()),
    )
    assert answer.status_code == 201, answer.text
    return _document(answer)


def pay(user_id: str, invoice_id: str, amount: int, payment_id: str | None = None) -> str:
    """The payment service has collected an amount for an invoice; the payment's id."""
    payment_id = payment_id or ids.new_id()
    deliver(HANDLERS, payment_event(user_id, invoice_id, amount, payment_id))
    return payment_id


def payment_event(user_id: str, invoice_id: str, amount: int, payment_id: str) -> Event:
    data = {
        "payment_id": payment_id,
        "user_id": user_id,
        "reference": {"type": "invoice", "id": invoice_id},
        "amount": rupees(amount),
        "method": {"type": "card", "brand": "visa", "last4": "4242"},
        "completed_at": clock.rfc3339(clock.now()),
    }
    return an_event("payment.completed", user_id, data)


def refund(user_id: str, invoice_id: str, payment_id: str, amount: int, refund_id: str | None = None) -> str:
    """The payment service has given an amount back; the refund's id."""
    refund_id = refund_id or ids.new_id()
    deliver(HANDLERS, refund_event(user_id, invoice_id, payment_id, amount, refund_id))
    return refund_id


def refund_event(
    user_id: str, invoice_id: str, payment_id: str, amount: int, refund_id: str | None = None
) -> Event:
    data = {
        "payment_id": payment_id,
        "refund_id": refund_id or ids.new_id(),
        "user_id": user_id,
        "reference": {"type": "invoice", "id": invoice_id},
        "amount": rupees(amount),
        "reason": "requested",
    }
    return an_event("payment.refunded", user_id, data)


def _document(answer: TestResponse) -> dict[str, Any]:
    document = answer.get_json()
    assert isinstance(document, dict)
    return document


def account_of(client: FlaskClient, user_id: str) -> dict[str, Any]:
    answer = client.get("/api/billing/account", headers=bearer(user_id))
    assert answer.status_code == 200, answer.text
    return _document(answer)


def invoice_of(client: FlaskClient, user_id: str, invoice_id: str) -> dict[str, Any]:
    answer = client.get(f"/api/billing/invoices/{invoice_id}", headers=bearer(user_id))
    assert answer.status_code == 200, answer.text
    return _document(answer)


def dun(client: FlaskClient, *, finish: bool = True) -> dict[str, Any]:
    """A dunning run as of today, as it is answered when completed; else as it was answered at once."""
    answer = client.post("/api/billing/admin/dunning-runs", headers=bearer(ADMIN, "admin"))
    assert answer.status_code == 201, answer.text
    return _completed(client, "dunning-runs", _document(answer), worker.dun) if finish else _document(answer)


def _completed(
    client: FlaskClient, kind: str, run: dict[str, Any], work: Callable[[], bool]
) -> dict[str, Any]:
    """On a machine that is busy a run may take longer than its answer."""
    while run["state"] == "running":
        work()
        run = _document(client.get(f"/api/billing/admin/{kind}/{run['id']}", headers=admin()))
    return run


def days_ago(days: int) -> str:
    return date.fromordinal(clock.today().toordinal() - days).isoformat()


def admin() -> dict[str, str]:
    return bearer(ADMIN, "admin", key=ids.new_id())


def offer_plan(
    client: FlaskClient, code: str = "mobile-100", price: int = 300_000, currency: str = "LKR", **changes: Any
) -> dict[str, Any]:
    """A plan of category `mobile` without rates, as it is answered."""
    body = {
        "code": code,
        "name": code.title(),
        "category": "mobile",
        "price": rupees(price, currency),
    } | changes
    answer = client.post("/api/billing/admin/plans", json=body, headers=admin())
    assert answer.status_code == 201, answer.text
    return _document(answer)


def subscribe(client: FlaskClient, user_id: str, plan: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/api/billing/subscriptions", json={"plan_id": plan["id"]}, headers=bearer(user_id))
    assert answer.status_code == 201, answer.text
    return _document(answer)


def run_billing(client: FlaskClient, period: str, *, finish: bool = True) -> dict[str, Any]:
    """A billing run, as it is answered when completed; else as it was answered at once."""
    answer = client.post("/api/billing/admin/billing-runs", json={"period": period}, headers=admin())
    assert answer.status_code == 201, answer.text
    return _completed(client, "billing-runs", _document(answer), worker.bill) if finish else _document(answer)


def a_record(user_id: str, quantity: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "record_id": ids.new_id(),
        "user_id": user_id,
        "kind": "data_mb",
        "quantity": quantity,
        "occurred_at": clock.rfc3339(clock.now()),
    } | changes


def use(client: FlaskClient, *records: dict[str, Any]) -> dict[str, Any]:
    """Usage taken in one batch, as it is answered."""
    answer = client.post("/api/billing/admin/usage-records", json={"records": records}, headers=admin())
    assert answer.status_code == 200, answer.text
    return _document(answer)


def invoices_of(client: FlaskClient, user_id: str) -> list[dict[str, Any]]:
    """The customer's invoices, oldest first."""
    items = client.get(
        "/api/billing/invoices", query_string={"limit": 100}, headers=bearer(user_id)
    ).get_json()["items"]
    return list(reversed(items))


def many_subscribers(count: int, rates: bytes = b"[]") -> list[str]:
    """The ids of so many users who all hold one plan since the first of this month, put straight into the database."""
    plan_id, users, now = ids.new_id(), [ids.new_id() for _ in range(count)], clock.now()
    began = now.astimezone(clock.OPERATOR_ZONE).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    plan = {
        "id": plan_id, "code": "mobile", "name": "Mobile", "description": "", "category": "mobile", "currency": "LKR",
        "price_minor": 100_000, "offered": True, "created_at": now,
        "rates": RATES.dump_json(RATES.validate_json(rates)).decode(),
    }  # fmt: skip
    accounts = [
        {
            "id": ids.new_id(), "user_id": user_id, "number": f"STL-{n:010d}", "kind": AccountKind.POSTPAID,
            "status": AccountStatus.ACTIVE, "currency": "LKR", "receivable_minor": 0, "credit_minor": 0,
            "name": "Nimali Perera", "phone": "+94771234567", "language": "en", "profile_as_of": now, "created_at": now,
        }
        for n, user_id in enumerate(users, start=1)
    ]  # fmt: skip
    held = [
        {
            "id": ids.new_id(), "account_id": account["id"], "user_id": account["user_id"], "category": "mobile",
            "started_at": began, "settled": False, "created_at": now,
        }
        for account in accounts
    ]  # fmt: skip
    terms = [
        {
            "id": ids.new_id(), "subscription_id": one["id"], "account_id": one["account_id"], "plan_id": plan_id,
            "starts_at": began,
        }
        for one in held
    ]  # fmt: skip
    with transaction() as session:
        session.execute(insert(Plan), [plan])
        session.execute(insert(Account), accounts)
        session.execute(insert(Subscription), held)
        session.execute(insert(SubscriptionTerm), terms)
    return users


def trial_balance(client: FlaskClient) -> dict[str, Any]:
    return _document(client.get("/api/billing/admin/ledger/trial-balance", headers=bearer(None, "admin")))


def until(year: int, month: int, day: int) -> None:
    """Move the frozen clock to the morning of a day."""
    clock.move(datetime(year, month, day, 6, tzinfo=UTC) - clock.now())


def lines(invoice: dict[str, Any]) -> list[tuple[str, int]]:
    """What an invoice bills, and for how much in minor units."""
    return [(line["description"], line["amount"]["amount_minor"]) for line in invoice["lines"]]
