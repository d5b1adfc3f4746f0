"""Credit notes and disputes: what was wrong is taken off in the open, and nobody is barred over an open question."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from billing.models import Invoice
from common import clock, contracts, ids
from common.db import db, reading
from tests.support.billing import (
    ADMIN,
    a_line,
    account_of,
    admin,
    bill,
    days_ago,
    dun,
    invoice_of,
    open_account,
    pay,
    refund,
    rupees,
    trial_balance,
)
from tests.support.services import bearer, emitted, make_app


@pytest.fixture(autouse=True)
def frozen_clock() -> Iterator[None]:
    with clock.frozen(datetime(2026, 11, 21, 6, tzinfo=UTC)):
        yield


def credit(client: FlaskClient, invoice: dict[str, Any], amount: int) -> Any:
    path = f"/api/billing/admin/invoices/{invoice['id']}/credit-notes"
    return client.post(path, json={"amount": rupees(amount), "reason": "line was down"}, headers=admin())


def test_a_credit_note_takes_off_what_is_due_and_the_rest_becomes_credit(client: FlaskClient) -> None:
    user_id = open_account()
    invoice = bill(client, user_id, 1_000)
    note = credit(client, invoice, 300)
    assert (note.status_code, note.json["number"]) == (201, "CN-2026-000001")
    after = invoice_of(client, user_id, invoice["id"])
    assert (after["amount_due"], after["amount_credited"]) == (rupees(700), rupees(300))
    pay(user_id, invoice["id"], 700)
    assert credit(client, invoice, 500).status_code == 201
    assert account_of(client, user_id)["credit"] == rupees(500)
    assert trial_balance(client)["balanced"]
    for event in emitted("invoice.credited"):
        assert contracts.violation(event.type, event.data) is None
    assert [event.data["amount_due"] for event in emitted("invoice.credited")] == [rupees(700), rupees(0)]
    listed = client.get(f"/api/billing/invoices/{invoice['id']}/credit-notes", headers=bearer(user_id)).json
    assert [item["amount"] for item in listed["items"]] == [rupees(500), rupees(300)]


def test_no_more_can_be_credited_than_was_billed(client: FlaskClient) -> None:
    invoice = bill(client, open_account(), 1_000)
    assert credit(client, invoice, 1_000).status_code == 201
    refused = credit(client, invoice, 1)
    assert (refused.status_code, refused.json["code"]) == (409, "not_creditable")
    assert invoice_of(client, invoice["user_id"], invoice["id"])["state"] == "paid"


def test_credit_notes_of_a_whole_invoice_give_back_exactly_its_revenue_and_taxes(
    database_url: str, tmp_path: Any
) -> None:
    taxes = [
        {"code": "TL", "name": "Telecommunications levy", "rate_percent": "15"},
        {"code": "CESS", "name": "Cess", "rate_percent": "2"},
        {"code": "VAT", "name": "VAT", "rate_percent": "18", "on": ["TL", "CESS"]},
    ]
    app = make_app("billing", database_url, tmp_path, taxes=taxes)
    with app.app_context():
        client, user_id = app.test_client(), open_account()
        body = {"user_id": user_id, "lines": [a_line(33_333)], "due_on": "2026-12-05"}
        invoice = client.post("/api/billing/admin/invoices", json=body, headers=admin()).json
        # 15 % of 333.33 = 50.00; 2 % = 6.67; 18 % of 390.00 = 70.20
        assert [line["amount"]["amount_minor"] for line in invoice["tax_lines"]] == [5_000, 667, 7_020]
        left = invoice["total"]["amount_minor"]
        for amount in (1, 1, left - 2):
            assert credit(client, invoice, amount).status_code == 201
        assert {
            a["ledger_account"]: a["balance"]["amount_minor"] for a in trial_balance(client)["accounts"]
        } == {
            "receivable": 0,
            "revenue": 0,
            "tax_payable": 0,
        }
        db.engine.dispose()


def test_a_credited_invoice_cannot_be_voided_and_a_void_names_its_actor(client: FlaskClient) -> None:
    first, second = (bill(client, open_account(), 1_000) for _ in range(2))
    credit(client, first, 1)
    answers = [
        client.post(f"/api/billing/admin/invoices/{each['id']}/void", headers=bearer(ADMIN, "admin"))
        for each in (first, second)
    ]
    assert [answer.status_code for answer in answers] == [409, 200]
    with reading() as session:
        assert session.scalar(select(Invoice.voided_by).where(Invoice.id == second["id"])) == ADMIN


def test_a_refund_after_a_credit_note_is_paid_by_the_notes_credit_before_anything_is_due_again(
    client: FlaskClient,
) -> None:
    user_id = open_account()
    invoice = bill(client, user_id, 1_000)
    payment_id = pay(user_id, invoice["id"], 1_000)
    credit(client, invoice, 500)
    paid_at = invoice_of(client, user_id, invoice["id"])["paid_at"]
    clock.move(timedelta(days=1))
    refund(user_id, invoice["id"], payment_id, 400)
    after = invoice_of(client, user_id, invoice["id"])
    assert (after["state"], after["amount_due"], after["paid_at"]) == ("paid", rupees(0), paid_at)
    assert account_of(client, user_id)["credit"] == rupees(100)
    assert emitted("invoice.reopened") == []
    refund(user_id, invoice["id"], payment_id, 600)
    account, after = account_of(client, user_id), invoice_of(client, user_id, invoice["id"])
    assert (account["credit"], account["balance_due"]) == (rupees(0), rupees(500))
    assert (after["state"], after["amount_due"]) == ("partially_paid", rupees(500))
    assert [event.data["amount_due"] for event in emitted("invoice.reopened")] == [rupees(500)]
    assert trial_balance(client)["balanced"]


def test_bad_amounts_are_refused(client: FlaskClient) -> None:
    invoice = bill(client, open_account(), 1_000)
    path = f"/api/billing/admin/invoices/{invoice['id']}/credit-notes"
    for amount in (rupees(0), rupees(-1), rupees(1.5), rupees(1, "USD"), rupees(10**16), 5):
        answer = client.post(path, json={"amount": amount, "reason": "x"}, headers=admin())
        assert answer.status_code == 422, amount


def dispute(client: FlaskClient, invoice: dict[str, Any]) -> Any:
    path = f"/api/billing/invoices/{invoice['id']}/disputes"
    return client.post(path, json={"reason": "I never called there"}, headers=bearer(invoice["user_id"]))


def resolve(client: FlaskClient, dispute_id: str, outcome: str, **more: Any) -> Any:
    path = f"/api/billing/admin/disputes/{dispute_id}/resolve"
    return client.post(path, json={"outcome": outcome, "resolution": "looked at"} | more, headers=admin())


def test_a_disputed_invoice_is_not_dunned_and_after_a_rejection_there_is_a_new_notice(
    client: FlaskClient,
) -> None:
    user_id = open_account()
    invoice = bill(client, user_id, due_on=days_ago(20))
    dun(client)
    opened = dispute(client, invoice)
    assert (opened.status_code, opened.json["state"]) == (201, "open")
    assert dispute(client, invoice).json["code"] == "dispute_open"
    clock.move(timedelta(days=30))
    dun(client)
    assert account_of(client, user_id)["status"] == "active"
    listed = client.get("/api/billing/admin/disputes?state=open", headers=admin()).json["items"]
    assert [item["id"] for item in listed] == [opened.json["id"]]
    assert resolve(client, opened.json["id"], "rejected").json["state"] == "rejected"
    assert emitted("invoice.overdue")[-1].data["bar_from"] == "2026-12-28"
    dun(client)
    assert account_of(client, user_id)["status"] == "active"
    clock.move(timedelta(days=7))
    dun(client)
    assert account_of(client, user_id)["status"] == "soft_barred"


def test_of_several_bills_only_the_disputed_one_is_left_alone(client: FlaskClient) -> None:
    user_id = open_account()
    disputed, other = (bill(client, user_id, due_on="2026-11-23") for _ in range(2))
    dispute(client, disputed)
    clock.move(timedelta(days=1))
    dun(client)
    assert [event.data["invoice_id"] for event in emitted("invoice.reminder")] == [other["id"]]
    clock.move(timedelta(days=2))
    dun(client)
    assert [event.data["invoice_id"] for event in emitted("invoice.overdue")] == [other["id"]]


def test_a_disputed_bill_bars_nobody_beside_another_of_which_there_is_no_notice_yet(
    client: FlaskClient,
) -> None:
    user_id = open_account()
    disputed = bill(client, user_id, due_on=days_ago(20))
    dun(client)
    dispute(client, disputed)
    clock.move(timedelta(days=10))
    assert dun(client)["accounts"] == 0
    bill(client, user_id, due_on=days_ago(20))
    assert dun(client)["invoices_overdue"] == 1
    assert account_of(client, user_id)["status"] == "active"


def test_a_credit_note_over_what_is_overdue_lifts_the_bar(client: FlaskClient) -> None:
    user_id = open_account()
    invoice = bill(client, user_id, 1_000, due_on=days_ago(20))
    dun(client)
    clock.move(timedelta(days=7))
    dun(client)
    assert account_of(client, user_id)["status"] == "soft_barred"
    credit(client, invoice, 999)
    assert account_of(client, user_id)["status"] == "soft_barred"
    credit(client, invoice, 1)
    assert account_of(client, user_id)["status"] == "active"


def test_an_accepted_dispute_brings_its_credit_note_once(client: FlaskClient) -> None:
    invoice = bill(client, open_account(), 1_000)
    opened = dispute(client, invoice).json
    assert resolve(client, opened["id"], "accepted", credit=rupees(400)).status_code == 200
    again = resolve(client, opened["id"], "accepted", credit=rupees(400))
    assert (again.status_code, again.json["code"]) == (409, "dispute_resolved")
    assert invoice_of(client, invoice["user_id"], invoice["id"])["amount_due"] == rupees(600)


def test_others_cannot_dispute_or_see_disputes(client: FlaskClient) -> None:
    invoice = bill(client, open_account(), 1_000)
    assert dispute(client, invoice | {"user_id": open_account()}).status_code == 404
    path = f"/api/billing/invoices/{invoice['id']}/disputes"
    assert client.get(path, headers=bearer(open_account())).status_code == 404
    assert resolve(client, ids.new_id(), "rejected").status_code == 404
