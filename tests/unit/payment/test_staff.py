"""Refunds by staff, receipts, and the list of what a person has to look at."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select, update
from werkzeug.test import TestResponse

from common import clock, ids
from common.contracts import violation
from common.db import reading, transaction
from payment.gateway import Notice, NoticeKind, Outcome, RefundRefused, Verdict
from payment.gateway.simulated import SimulatedCharge, SimulatedRefund
from payment.jobs import advance_payments, make_refunds
from payment.models import Account, WalletEntry
from tests.support.payments import (
    LOSES_ANSWER,
    WALLET,
    assert_books_hold,
    balance,
    card,
    gateway_of,
    lkr,
    new_order,
    pay,
    top_up,
)
from tests.support.services import bearer, emitted

ME, AGENT, ADMIN = ids.new_id(), ids.new_id(), ids.new_id()


def refund(
    client: FlaskClient, payment_id: str, amount_minor: int | None = None, **more: str
) -> TestResponse:
    body = {"reason": "goodwill"} | ({"amount": lkr(amount_minor)} if amount_minor else {})
    return client.post(
        f"/api/payment/payments/{payment_id}/refunds",
        json=body,
        headers=bearer(AGENT, "agent", key=more.get("key", ids.new_id())),
    )


def state_of(client: FlaskClient, payment_id: str) -> str:
    return client.get(f"/api/payment/payments/{payment_id}", headers=bearer(ME)).json["state"]


def test_refunds_add_up_to_what_was_paid_and_never_above(client: FlaskClient) -> None:
    payment_id = pay(client, ME, new_order(ME)).json["id"]
    key = ids.new_id()
    first = refund(client, payment_id, 20_000, key=key)
    assert refund(client, payment_id, 20_000, key=key).data == first.data
    assert first.status_code == 201
    make_refunds()
    assert state_of(client, payment_id) == "completed"
    assert refund(client, payment_id, 100_001).json["code"] == "refund_too_large"
    assert refund(client, payment_id, 30_000).status_code == 201
    assert refund(client, payment_id).json["amount"] == lkr(70_000)
    assert refund(client, payment_id).json["code"] == "not_refundable"
    make_refunds()
    assert state_of(client, payment_id) == "refunded"
    events = emitted("payment.refunded")
    assert sorted(event.data["amount"]["amount_minor"] for event in events) == [20_000, 30_000, 70_000]
    assert all(violation(event.type, event.data) is None for event in events)
    shown = client.get(f"/api/payment/payments/{payment_id}/refunds", headers=bearer(ME)).json["items"]
    assert [item["state"] for item in shown] == ["completed"] * 3
    assert_books_hold()


def test_of_parallel_refunds_only_the_covered_ones_are_made(app: Flask, client: FlaskClient) -> None:
    payment_id = pay(client, ME, new_order(ME)).json["id"]
    with ThreadPoolExecutor(5) as pool:
        codes = sorted(
            pool.map(lambda _: refund(app.test_client(), payment_id, 50_000).status_code, range(5))
        )
    assert codes[:2] == [201, 201]
    assert set(codes[2:]) <= {409, 422}
    make_refunds()
    with reading() as session:
        assert session.scalars(select(SimulatedRefund.amount_minor)).all() == [50_000, 50_000]
    assert_books_hold()


def test_a_wallet_payment_goes_back_to_the_wallet_and_a_top_up_out_of_it(client: FlaskClient) -> None:
    top_up(client, ME, 150_000)
    paid = pay(client, ME, new_order(ME), method=WALLET).json["id"]
    assert refund(client, paid, 40_000).status_code == 201
    make_refunds()
    assert balance(client, ME) == 70_000
    top_up_id = client.get("/api/payment/payments", headers=bearer(ME)).json["items"][1]["id"]
    assert refund(client, top_up_id).json["code"] == "wallet_balance_too_low"
    assert refund(client, top_up_id, 60_000).status_code == 201
    assert balance(client, ME) == 10_000
    make_refunds()
    assert_books_hold()


def test_only_staff_refund_and_find_others_payments(client: FlaskClient) -> None:
    payment_id = pay(client, ME, new_order(ME)).json["id"]
    path = f"/api/payment/payments/{payment_id}/refunds"
    assert client.post(path, json={"reason": "x"}, headers=bearer(ME, key="k")).status_code == 403
    found = client.get(f"/api/payment/admin/payments?user_id={ME}", headers=bearer(AGENT, "agent")).json
    assert [item["id"] for item in found["items"]] == [payment_id]
    assert client.get("/api/payment/admin/payments", headers=bearer(ME)).status_code == 403
    assert client.get(f"/api/payment/payments/{payment_id}", headers=bearer(ids.new_id())).status_code == 404
    assert refund(client, ids.new_id()).status_code == 404


@pytest.mark.parametrize("language", ["en", "si", "ta"])
def test_a_captured_payment_has_a_receipt_in_the_customers_language(
    client: FlaskClient, language: str
) -> None:
    payment_id = pay(client, ME, new_order(ME)).json["id"]
    path = f"/api/payment/payments/{payment_id}/receipt?language={language}"
    answer = client.get(path, headers=bearer(ME))
    assert (answer.status_code, answer.mimetype) == (200, "application/pdf")
    assert answer.data.startswith(b"%PDF-")
    assert client.get(path, headers=bearer(ME)).data == answer.data
    assert client.get(path, headers=bearer(ids.new_id())).status_code == 404
    waiting = pay(client, ME, new_order(ME), method=card(LOSES_ANSWER)).json["id"]
    answer = client.get(f"/api/payment/payments/{waiting}/receipt", headers=bearer(ME))
    assert (answer.status_code, answer.json["code"]) == (409, "no_receipt")


def cases(client: FlaskClient, state: str = "open") -> list[dict]:
    return client.get(f"/api/payment/admin/cases?state={state}", headers=bearer(ADMIN, "admin")).json["items"]


def resolve(client: FlaskClient, case_id: str, action: str) -> TestResponse:
    return client.post(
        f"/api/payment/admin/cases/{case_id}/resolve",
        json={"action": action, "note": "called the bank"},
        headers=bearer(ADMIN, "admin"),
    )


@pytest.mark.parametrize("action", ["retry_refund", "paid_by_hand"])
def test_a_refund_that_is_refused_for_good_waits_for_a_person(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    payment_id = pay(client, ME, new_order(ME)).json["id"]
    refund(client, payment_id)

    def refuse(**_: object) -> None:
        raise RefundRefused("account_closed")

    with monkeypatch.context() as patch:
        patch.setattr(gateway_of(app), "refund", refuse)
        make_refunds()
    (case,) = cases(client)
    assert (case["kind"], case["detail"], state_of(client, payment_id)) == (
        "refund_refused",
        "account_closed",
        "refunding",
    )
    assert emitted("payment.refunded") == []
    assert resolve(client, case["id"], action).json["state"] == "resolved"
    assert resolve(client, case["id"], action).json["code"] == "case_resolved"
    make_refunds()
    assert state_of(client, payment_id) == "refunded"
    assert len(emitted("payment.refunded")) == 1
    assert_books_hold()
    with reading() as session:
        paid_out = select(func.sum(WalletEntry.amount_minor)).where(WalletEntry.account == Account.BANK)
        assert session.scalar(paid_out) == (120_000 if action == "paid_by_hand" else None)
    assert cases(client) == []
    assert client.get("/api/payment/admin/cases", headers=bearer(AGENT, "agent")).status_code == 403


def test_a_refund_that_fails_after_it_was_accepted_is_paid_by_hand(app: Flask, client: FlaskClient) -> None:
    payment_id = pay(client, ME, new_order(ME)).json["id"]
    refund_id = refund(client, payment_id).json["id"]
    make_refunds()
    with transaction() as session:  # as the gateway then has it
        session.execute(update(SimulatedCharge).values(refunded_minor=0))
    body, headers = gateway_of(app).write_notice(
        Notice(NoticeKind.REFUND_FAILED, refund_id, "account_closed")
    )
    for _ in range(2):
        client.post("/api/payment/webhooks/simulated", data=body, headers=headers)
    (case,) = cases(client)
    assert (case["kind"], case["subject_id"]) == ("refund_refused", refund_id)
    assert resolve(client, case["id"], "retry_refund").json["code"] == "not_refundable"
    assert resolve(client, case["id"], "paid_by_hand").status_code == 200
    assert cases(client) == []
    assert len(emitted("payment.refunded")) == 1
    assert_books_hold()


def test_what_the_gateway_captures_after_it_was_called_off_goes_back_by_itself(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway first says declined and later turns out to have captured."""
    gateway = gateway_of(app)
    charge = gateway.charge

    def lie(**wanted: object) -> Outcome:
        charge(**wanted)
        return Outcome(Verdict.DECLINED, "card_declined")

    with monkeypatch.context() as patch:
        patch.setattr(gateway, "charge", lie)
        payment_id = pay(client, ME, new_order(ME)).json["payment"]["id"]
    notice = gateway.write_notice(Notice(NoticeKind.CHARGE, payment_id))
    with clock.frozen(clock.now() + timedelta(seconds=1)):
        for _ in range(2):
            answer = client.post("/api/payment/webhooks/simulated", data=notice[0], headers=notice[1])
            assert answer.status_code == 200
            advance_payments()
            make_refunds()
    assert state_of(client, payment_id) == "refunded"
    with reading() as session:
        assert session.scalars(select(SimulatedCharge.refunded_minor)).all() == [120_000]
    assert [case["kind"] for case in cases(client)] == ["captured_after_failure"]
    assert [event.type for event in emitted()] == ["payment.failed"]
    assert_books_hold()
