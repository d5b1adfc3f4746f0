"""Money for invoices: counted once, in whatever order it comes, and the books always balance."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from billing.handlers import HANDLERS
from billing.models import Account, LedgerAccount, LedgerEntry, LedgerTransaction
from common import contracts, ids
from common.db import reading, transaction
from common.messaging import NotYet, Rejected
from tests.support.billing import ADMIN, account_of, bill, invoice_of, open_account, pay, refund, rupees
from tests.support.services import an_event, bearer, deliver, emitted


@pytest.fixture(autouse=True)
def books_balance(app: Flask) -> Any:
    """After every test here: each transaction and the whole sum to zero, and accounts say what the ledger says."""
    yield
    with reading() as session:
        per_transaction = (
            select(func.sum(LedgerEntry.amount_minor))
            .group_by(LedgerEntry.transaction_id, LedgerEntry.currency)
            .having(func.sum(LedgerEntry.amount_minor) != 0)
        )
        assert session.scalars(per_transaction).all() == []
        for account in session.scalars(select(Account)):
            sums: dict[LedgerAccount, int] = {}
            entries = (
                select(LedgerEntry).join(LedgerTransaction).where(LedgerTransaction.account_id == account.id)
            )
            for entry in session.scalars(entries):
                sums[entry.ledger_account] = sums.get(entry.ledger_account, 0) + entry.amount_minor
            assert account.receivable_minor == sums.get(LedgerAccount.RECEIVABLE, 0)
            assert account.credit_minor == -sums.get(LedgerAccount.CUSTOMER_CREDIT, 0)
    answer = app.test_client().get("/api/billing/admin/ledger/trial-balance", headers=bearer(ADMIN, "admin"))
    assert answer.json["balanced"] is True
    assert answer.json["totals"] == [rupees(0)]


def balances(client: FlaskClient, user_id: str) -> tuple[int, int]:
    account = account_of(client, user_id)
    return account["balance_due"]["amount_minor"], account["credit"]["amount_minor"]


def test_a_payment_makes_its_invoice_paid_and_says_so_once(client: FlaskClient) -> None:
    user_id = open_account()
    invoice = bill(client, user_id)
    payment_id = pay(user_id, invoice["id"], 120_000)
    pay(user_id, invoice["id"], 120_000, payment_id)
    paid = invoice_of(client, user_id, invoice["id"])
    assert (paid["state"], paid["amount_due"], paid["amount_paid"]) == ("paid", rupees(0), rupees(120_000))
    assert paid["paid_at"] is not None
    assert balances(client, user_id) == (0, 0)
    (event,) = emitted("invoice.paid")
    assert contracts.violation(event.type, event.data) is None
    assert (event.data["payment_id"], event.data["invoice_id"]) == (payment_id, invoice["id"])


def test_parts_add_up(client: FlaskClient) -> None:
    user_id = open_account()
    invoice = bill(client, user_id)
    pay(user_id, invoice["id"], 20_000)
    part = invoice_of(client, user_id, invoice["id"])
    assert (part["state"], part["amount_due"]) == ("partially_paid", rupees(100_000))
    assert emitted("invoice.paid") == []
    pay(user_id, invoice["id"], 100_000)
    assert invoice_of(client, user_id, invoice["id"])["state"] == "paid"
    assert len(emitted("invoice.paid")) == 1


def test_payments_at_the_same_time_are_each_counted_once(app: Flask) -> None:
    with app.app_context():
        client, user_id = app.test_client(), open_account()
        invoice = bill(client, user_id, 1_000)
    payments = [ids.new_id() for _ in range(10)]

    def one(payment_id: str) -> None:
        with app.app_context():
            pay(user_id, invoice["id"], 100, payment_id)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, payments * 3))
    assert invoice_of(client, user_id, invoice["id"])["state"] == "paid"
    assert balances(client, user_id) == (0, 0)
    assert len(emitted("invoice.paid")) == 1


def test_too_much_is_credit_and_the_next_bill_takes_it(client: FlaskClient) -> None:
    user_id = open_account()
    first = bill(client, user_id, 1_000)
    pay(user_id, first["id"], 1_000)
    pay(user_id, first["id"], 1_000)
    assert balances(client, user_id) == (0, 1_000)
    second = bill(client, user_id, 300)
    assert (second["state"], second["amount_due"]) == ("paid", rupees(0))
    assert emitted("invoice.paid")[-1].data["payment_id"] is None
    third = bill(client, user_id, 1_000)
    assert (third["state"], third["amount_due"]) == ("partially_paid", rupees(300))
    assert emitted("invoice.issued")[-1].data["amount_due"] == rupees(300)
    assert balances(client, user_id) == (300, 0)


def test_a_payment_of_a_void_invoice_is_credit(client: FlaskClient) -> None:
    user_id = open_account()
    invoice = bill(client, user_id, 1_000)
    pay(user_id, invoice["id"], 400)
    path = f"/api/billing/admin/invoices/{invoice['id']}/void"
    assert client.post(path, headers=bearer(user_id)).status_code == 403
    voided = client.post(path, headers=bearer(ADMIN, "admin"))
    assert (voided.json["state"], voided.json["amount_due"]) == ("void", rupees(0))
    assert balances(client, user_id) == (0, 400)
    pay(user_id, invoice["id"], 600)
    assert balances(client, user_id) == (0, 1_000)
    again = client.post(path, headers=bearer(ADMIN, "admin"))
    assert (again.status_code, again.json["code"]) == (409, "invoice_not_voidable")
    (event,) = emitted("invoice.voided")
    assert contracts.violation(event.type, event.data) is None


def test_a_paid_invoice_cannot_be_voided(client: FlaskClient) -> None:
    user_id = open_account()
    invoice = bill(client, user_id, 1_000)
    pay(user_id, invoice["id"], 1_000)
    refused = client.post(f"/api/billing/admin/invoices/{invoice['id']}/void", headers=bearer(ADMIN, "admin"))
    assert (refused.status_code, refused.json["code"]) == (409, "invoice_not_voidable")


def test_a_refund_makes_the_invoice_due_again_once(client: FlaskClient) -> None:
    user_id = open_account()
    invoice = bill(client, user_id, 1_000)
    payment_id = pay(user_id, invoice["id"], 1_000)
    refund_id = refund(user_id, invoice["id"], payment_id, 400)
    refund(user_id, invoice["id"], payment_id, 400, refund_id)
    part = invoice_of(client, user_id, invoice["id"])
    assert (part["state"], part["amount_due"], part["paid_at"]) == ("partially_paid", rupees(400), None)
    refund(user_id, invoice["id"], payment_id, 600)
    assert invoice_of(client, user_id, invoice["id"])["state"] == "issued"
    assert balances(client, user_id) == (1_000, 0)
    assert [event.data["amount_due"] for event in emitted("invoice.reopened")] == [rupees(400), rupees(1_000)]
    assert all(contracts.violation(e.type, e.data) is None for e in emitted("invoice.reopened"))
    with pytest.raises(Rejected):
        refund(user_id, invoice["id"], payment_id, 1)


def test_the_second_of_two_payments_goes_back_out_of_credit(client: FlaskClient) -> None:
    user_id = open_account()
    invoice = bill(client, user_id, 1_000)
    pay(user_id, invoice["id"], 1_000)
    twice = pay(user_id, invoice["id"], 1_000)
    refund(user_id, invoice["id"], twice, 1_000)
    assert invoice_of(client, user_id, invoice["id"])["state"] == "paid"
    assert balances(client, user_id) == (0, 0)


def test_credit_that_went_back_is_owed_again_where_it_was_used(client: FlaskClient) -> None:
    user_id = open_account()
    first = bill(client, user_id, 1_000)
    pay(user_id, first["id"], 1_000)
    twice = pay(user_id, first["id"], 1_000)
    second, third = bill(client, user_id, 700), bill(client, user_id, 700)
    assert balances(client, user_id) == (400, 0)
    refund(user_id, first["id"], twice, 1_000)
    assert invoice_of(client, user_id, first["id"])["state"] == "paid"
    assert invoice_of(client, user_id, second["id"])["amount_due"] == rupees(700)
    assert invoice_of(client, user_id, third["id"])["amount_due"] == rupees(700)
    assert balances(client, user_id) == (1_400, 0)


def test_a_refund_after_the_invoice_was_voided_comes_out_of_credit(client: FlaskClient) -> None:
    user_id = open_account()
    invoice = bill(client, user_id, 1_000)
    payment_id = pay(user_id, invoice["id"], 400)
    client.post(f"/api/billing/admin/invoices/{invoice['id']}/void", headers=bearer(ADMIN, "admin"))
    refund(user_id, invoice["id"], payment_id, 400)
    assert balances(client, user_id) == (0, 0)
    assert invoice_of(client, user_id, invoice["id"])["state"] == "void"


def test_money_that_comes_before_what_it_is_for_is_put_off(client: FlaskClient) -> None:
    user_id = open_account()
    with pytest.raises(NotYet):
        pay(user_id, ids.new_id(), 1_000)
    invoice = bill(client, user_id, 1_000)
    with pytest.raises(NotYet):
        refund(user_id, invoice["id"], ids.new_id(), 1_000)


def test_money_in_another_currency_is_refused_for_good(client: FlaskClient) -> None:
    user_id = open_account()
    invoice = bill(client, user_id, 1_000)
    data = {
        "payment_id": ids.new_id(),
        "user_id": user_id,
        "reference": {"type": "invoice", "id": invoice["id"]},
        "amount": rupees(1_000, "USD"),
        "method": {"type": "card", "brand": "visa", "last4": "4242"},
        "completed_at": "2026-11-21T00:00:00Z",
    }
    with pytest.raises(Rejected):
        deliver(HANDLERS, an_event("payment.completed", user_id, data))
    assert balances(client, user_id) == (1_000, 0)


def test_payments_for_other_things_are_none_of_ours(client: FlaskClient) -> None:
    user_id = open_account()
    for kind, found in (("order", ids.new_id()), ("top_up", None)):
        data = {
            "payment_id": ids.new_id(),
            "user_id": user_id,
            "reference": {"type": kind, "id": found},
            "amount": rupees(1_000),
            "method": {"type": "wallet", "brand": None, "last4": None},
            "completed_at": "2026-11-21T00:00:00Z",
        }
        deliver(HANDLERS, an_event("payment.completed", user_id, data))
    assert balances(client, user_id) == (0, 0)


def test_the_statement_tells_every_movement_with_the_balance_after_it(client: FlaskClient) -> None:
    user_id = open_account()
    first = bill(client, user_id, 1_000)
    payment_id = pay(user_id, first["id"], 1_500)
    second = bill(client, user_id, 700)
    refund(user_id, first["id"], payment_id, 200)
    answer = client.get("/api/billing/ledger", headers=bearer(user_id))
    lines = [
        (i["kind"], i["invoice_number"], i["amount"]["amount_minor"], i["balance"]["amount_minor"])
        for i in answer.json["items"]
    ]
    assert lines == [
        ("payment_refunded", first["number"], 200, 400),
        ("invoice_issued", second["number"], 700, 200),
        ("payment_received", first["number"], -1_500, -500),
        ("invoice_issued", first["number"], 1_000, 1_000),
    ]
    due, credit = balances(client, user_id)
    assert due - credit == 400
    assert client.get("/api/billing/ledger", headers=bearer()).status_code == 404


def test_the_ledger_is_only_added_to(client: FlaskClient) -> None:
    bill(client, open_account())
    for table in ("ledger_transactions", "ledger_entries"):
        for change in (f"UPDATE {table} SET currency = 'USD'", f"DELETE FROM {table}"):
            with pytest.raises(DBAPIError, match="append-only"), transaction() as session:
                session.execute(text(change))


def test_only_admins_see_the_trial_balance(client: FlaskClient) -> None:
    path = "/api/billing/admin/ledger/trial-balance"
    assert client.get(path, headers=bearer(None, "agent")).status_code == 403
    bill(client, open_account(), 500)
    sums = {
        a["ledger_account"]: a["balance"]
        for a in client.get(path, headers=bearer(None, "admin")).json["accounts"]
    }
    assert sums == {"receivable": rupees(500), "revenue": rupees(-500)}
