"""The wallet: top-ups, paying from it, never below zero, always a double entry."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from common import ids
from common.contracts import violation
from common.db import reading, transaction
from payment.handlers import HANDLERS
from payment.models import Wallet, WalletEntry
from tests.support.payments import DECLINED, WALLET, balance, card, lkr, new_order, pay, top_up
from tests.support.services import an_event, bearer, deliver, emitted

ME = ids.new_id()


def assert_balanced() -> None:
    """Every transfer adds up to zero and every balance is the sum of its entries."""
    with reading() as session:
        by_transfer = select(func.sum(WalletEntry.amount_minor)).group_by(WalletEntry.transfer_id)
        assert set(session.scalars(by_transfer)) <= {0}
        for wallet in session.scalars(select(Wallet)):
            entries = select(func.coalesce(func.sum(WalletEntry.amount_minor), 0))
            assert session.scalar(entries.where(WalletEntry.wallet_id == wallet.id)) == wallet.balance_minor
            assert wallet.balance_minor >= 0


def test_a_new_user_gets_one_empty_wallet(client: FlaskClient) -> None:
    event = an_event("user.created", ME, {"user_id": ME, "phone": "+94771234567"})
    deliver(HANDLERS, event)
    deliver(HANDLERS, event)
    with reading() as session:
        assert session.scalars(select(Wallet.balance_minor).where(Wallet.user_id == ME)).all() == [0]
    assert client.get("/api/payment/wallet", headers=bearer(ME)).json == {"balance": lkr(0)}


def test_a_top_up_before_the_wallet_exists_is_not_lost(client: FlaskClient) -> None:
    headers = bearer(ME, key="k")
    answer = client.post(
        "/api/payment/wallet/top-ups", json={"amount": lkr(50_000), "method": card()}, headers=headers
    )
    assert (answer.status_code, answer.json["state"]) == (201, "completed")
    assert answer.json["reference"] == {"type": "top_up", "id": None}
    deliver(HANDLERS, an_event("user.created", ME, {"user_id": ME, "phone": "+94771234567"}))
    assert balance(client, ME) == 50_000
    assert [event.type for event in emitted()] == ["payment.completed", "wallet.credited"]
    assert all(violation(event.type, event.data) is None for event in emitted())
    assert_balanced()


def test_a_declined_top_up_credits_nothing(client: FlaskClient) -> None:
    answer = pay(client, ME, None, kind="top_up", method=card(DECLINED))
    assert answer.status_code == 402
    assert balance(client, ME) == 0


def test_a_wallet_cannot_top_itself_up_nor_in_another_currency(client: FlaskClient) -> None:
    assert pay(client, ME, None, kind="top_up", method=WALLET).status_code == 422
    body = {"amount": {"amount_minor": 5, "currency": "XTS"}, "method": card()}
    answer = client.post("/api/payment/wallet/top-ups", json=body, headers=bearer(ME, key="k"))
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "amount.currency")


def test_an_order_is_paid_from_the_wallet(client: FlaskClient) -> None:
    top_up(client, ME, 200_000)
    order_id, key = new_order(ME), ids.new_id()
    answer = pay(client, ME, order_id, method=WALLET, key=key)
    assert (answer.status_code, answer.json["state"]) == (201, "completed")
    assert answer.json["method"] == {"type": "wallet", "brand": None, "last4": None}
    assert pay(client, ME, order_id, method=WALLET, key=key).data == answer.data
    assert pay(client, ME, order_id, method=WALLET).json["code"] == "already_paid"
    assert balance(client, ME) == 80_000
    entries = client.get("/api/payment/wallet/entries", headers=bearer(ME)).json["items"]
    assert [(entry["reason"], entry["amount"]["amount_minor"]) for entry in entries] == [
        ("payment", -120_000),
        ("top_up", 200_000),
    ]
    assert {event.type for event in emitted()} == {"payment.completed", "wallet.credited", "wallet.debited"}
    assert all(violation(event.type, event.data) is None for event in emitted())
    assert_balanced()


def test_too_low_a_balance_fails_the_payment_and_leaves_the_order_payable(client: FlaskClient) -> None:
    top_up(client, ME, 100_000)
    order_id = new_order(ME)
    answer = pay(client, ME, order_id, method=WALLET)
    assert (answer.status_code, answer.json["code"]) == (402, "insufficient_balance")
    assert answer.json["payment"]["state"] == "failed"
    assert balance(client, ME) == 100_000
    assert [event.data["reason"] for event in emitted("payment.failed")] == ["insufficient_balance"]
    assert pay(client, ME, order_id).json["state"] == "completed"
    assert_balanced()


def test_of_purchases_that_together_exceed_the_balance_only_the_covered_ones_succeed(
    app: Flask, client: FlaskClient
) -> None:
    top_up(client, ME, 300_000)
    orders = [new_order(ME, 100_000) for _ in range(8)]

    def buy(order_id: str) -> int:
        return pay(app.test_client(), ME, order_id, method=WALLET, amount_minor=100_000).status_code

    with ThreadPoolExecutor(8) as pool:
        codes = sorted(pool.map(buy, orders))
    assert codes == [201] * 3 + [402] * 5
    assert balance(client, ME) == 0
    assert_balanced()


def test_entries_come_in_pages_newest_first(client: FlaskClient) -> None:
    for amount in (100, 200, 300):
        top_up(client, ME, amount)
    first = client.get("/api/payment/wallet/entries?limit=2", headers=bearer(ME)).json
    rest = client.get(
        f"/api/payment/wallet/entries?limit=2&cursor={first['next_cursor']}", headers=bearer(ME)
    ).json
    amounts = [entry["amount"]["amount_minor"] for entry in first["items"] + rest["items"]]
    assert amounts == [300, 200, 100]
    assert rest["next_cursor"] is None
    assert client.get("/api/payment/wallet/entries", headers=bearer(ids.new_id())).json["items"] == []


def test_a_customer_is_told_once_when_the_balance_falls_below_the_bound(client: FlaskClient) -> None:
    top_up(client, ME, 30_000)
    for amount in (9_000, 9_000, 9_000, 1_000):
        pay(client, ME, new_order(ME, amount), method=WALLET, amount_minor=amount)
    (told,) = emitted("wallet.low_balance")
    assert violation(told.type, told.data) is None
    assert (told.data["balance"], told.data["amount"]) == (lkr(3_000), lkr(9_000))


@pytest.mark.parametrize(
    "change", ["UPDATE wallet_entries SET amount_minor = 5", "DELETE FROM wallet_entries"]
)
def test_the_database_itself_refuses_to_change_the_ledger(client: FlaskClient, change: str) -> None:
    top_up(client, ME, 30_000)
    with pytest.raises(DBAPIError, match="append-only"), transaction() as session:
        session.execute(text(change))
    assert_balanced()
    assert balance(client, ME) == 30_000
