"""Builders for payment's tests: cards, orders and invoices as their events tell, requests."""

from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from common import clock, ids
from common.db import reading
from payment.gateway import Verdict
from payment.gateway.simulated import SimulatedCharge
from payment.handlers import HANDLERS
from payment.models import CAPTURED_STATES, Account, Payment, ReferenceType, Wallet, WalletEntry
from tests.support.cards import card_fields
from tests.support.services import an_event, bearer, deliver

GOOD = "4242424242424242"
DECLINED = "4000000000000002"
NO_FUNDS = "4000000000009995"
ASKS_OTP = "4000002500003155"
LOSES_ANSWER = "4000000000000119"
CVC = "737"


def lkr(amount_minor: int) -> dict[str, Any]:
    return {"amount_minor": amount_minor, "currency": "LKR"}


def card(number: str = GOOD, **changes: Any) -> dict[str, Any]:
    return {"type": "card", "card": card_fields(number, cvc=CVC) | changes}


WALLET = {"type": "wallet"}


def order_event(event_type: str, order_id: str, user_id: str, amount_minor: int = 120_000) -> None:
    """`order.created`, `order.cancelled` or `order.failed`, handled."""
    data = {
        "order_id": order_id,
        "number": "ORD-1",
        "user_id": user_id,
        "offering_id": ids.new_id(),
        "offering_code": "data-50gb",
        "offering_name": "50 GB",
        "total": lkr(amount_minor),
        "state": "pending_payment",
        "reason": "network refused",
        "created_at": clock.rfc3339(clock.now()),
    }
    deliver(HANDLERS, an_event(event_type, user_id, data))


def invoice_event(event_type: str, invoice_id: str, user_id: str, amount_minor: int, **more: Any) -> None:
    """`invoice.issued` or `invoice.paid`, handled."""
    data = {
        "invoice_id": invoice_id,
        "number": "INV-2026-000001",
        "user_id": user_id,
        "account_number": "STL-0000000001",
        "total": lkr(amount_minor),
        "amount_due": lkr(amount_minor),
        "due_on": "2026-12-01",
        **more,
    }
    deliver(HANDLERS, an_event(event_type, user_id, data))


def new_order(user_id: str, amount_minor: int = 120_000) -> str:
    """An order whose event has arrived."""
    order_id = ids.new_id()
    order_event("order.created", order_id, user_id, amount_minor)
    return order_id


def pay(
    client: FlaskClient,
    user_id: str,
    reference_id: str | None,
    *,
    method: dict[str, Any] | None = None,
    amount_minor: int = 120_000,
    kind: str = "order",
    key: str | None = None,
    **more: Any,
) -> TestResponse:
    reference = {"type": kind} | ({"id": reference_id} if reference_id else {})
    body = {"reference": reference, "amount": lkr(amount_minor), "method": method or card(), **more}
    return client.post("/api/payment/process", json=body, headers=bearer(user_id, key=key or ids.new_id()))


def top_up(client: FlaskClient, user_id: str, amount_minor: int) -> None:
    answer = pay(client, user_id, None, kind="top_up", amount_minor=amount_minor)
    assert answer.status_code == 201, answer.text


def gateway_of(app: Flask) -> Any:
    """The first card gateway itself, for tests to break."""
    return next(iter(app.extensions["payment_gateways"].inner.values()))


def balance(client: FlaskClient, user_id: str) -> int:
    amount: int = client.get("/api/payment/wallet", headers=bearer(user_id)).json["balance"]["amount_minor"]  # type: ignore[index]
    return amount


def assert_books_hold() -> None:
    """Every transfer adds up to zero, every balance is the sum of its entries, what the ledger says of the card
    gateways is what these have (captured less refunded), and sales are what the payments say was kept: what came in
    went out again, was sold, or is a balance."""
    entries = WalletEntry.__table__
    with reading() as session:
        by_transfer = select(func.sum(entries.c.amount_minor)).group_by(entries.c.transfer_id)
        assert set(session.scalars(by_transfer)) <= {0}
        for wallet in session.scalars(select(Wallet)):
            held = select(func.coalesce(func.sum(entries.c.amount_minor), 0))
            assert session.scalar(held.where(entries.c.wallet_id == wallet.id)) == wallet.balance_minor >= 0
        through = select(func.coalesce(func.sum(entries.c.amount_minor), 0))
        captured = select(
            func.coalesce(func.sum(SimulatedCharge.amount_minor - SimulatedCharge.refunded_minor), 0)
        ).where(SimulatedCharge.verdict == Verdict.CAPTURED)
        assert session.scalar(through.where(entries.c.account == Account.CARD_GATEWAY)) == -(
            session.scalar(captured) or 0
        )
        sold = select(func.coalesce(func.sum(Payment.amount_minor - Payment.refunded_minor), 0)).where(
            Payment.state.in_(CAPTURED_STATES), Payment.reference_type != ReferenceType.TOP_UP
        )
        assert session.scalar(through.where(entries.c.account == Account.SALES)) == session.scalar(sold)
