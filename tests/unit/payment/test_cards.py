"""Paying by card: what may be paid, by whom, once; declines; the bank's password; bad input."""

from datetime import timedelta

import pytest
from flask.testing import FlaskClient

from common import clock, ids
from common.contracts import violation
from payment.jobs import advance_payments
from tests.support.payments import (
    ASKS_OTP,
    DECLINED,
    GOOD,
    NO_FUNDS,
    card,
    invoice_event,
    new_order,
    order_event,
    pay,
)
from tests.support.secrecy import tells
from tests.support.services import bearer, emitted

ME = ids.new_id()


def confirm(client: FlaskClient, payment_id: str, otp: str, user_id: str = ME):
    return client.post(
        f"/api/payment/payments/{payment_id}/confirm", json={"otp": otp}, headers=bearer(user_id)
    )


def test_an_order_is_paid_and_the_platform_told_once(client: FlaskClient) -> None:
    order_id = new_order(ME)
    answer = pay(client, ME, order_id)
    assert answer.status_code == 201, answer.text
    assert answer.json["state"] == "completed"
    assert answer.json["reference"] == {"type": "order", "id": order_id}
    assert answer.json["method"] == {"type": "card", "brand": "visa", "last4": "4242"}
    (event,) = emitted()
    assert event.type == "payment.completed"
    assert violation(event.type, event.data) is None
    assert event.data["payment_id"] == answer.json["id"]
    read = client.get(f"/api/payment/payments/{answer.json['id']}", headers=bearer(ME))
    assert read.json == answer.json
    listed = client.get("/api/payment/payments", headers=bearer(ME)).json
    assert [item["id"] for item in listed["items"]] == [answer.json["id"]]


def test_an_invoice_is_paid(client: FlaskClient) -> None:
    invoice_id = ids.new_id()
    invoice_event("invoice.issued", invoice_id, ME, 250_000)
    answer = pay(client, ME, invoice_id, kind="invoice", amount_minor=250_000)
    assert (answer.status_code, answer.json["state"]) == (201, "completed")
    invoice_event("invoice.paid", invoice_id, ME, 250_000, payment_id=answer.json["id"], paid_at="x")
    assert not advance_payments()
    assert [event.type for event in emitted()] == ["payment.completed"]


def test_the_same_key_gets_the_first_answer_again(client: FlaskClient) -> None:
    order_id, key = new_order(ME), ids.new_id()
    first, again = pay(client, ME, order_id, key=key), pay(client, ME, order_id, key=key)
    assert again.data == first.data
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(emitted()) == 1
    other = pay(client, ME, order_id, key=key, amount_minor=5)
    assert (other.status_code, other.json["code"]) == (422, "idempotency_key_reused")


def test_a_key_is_needed(client: FlaskClient) -> None:
    answer = client.post("/api/payment/process", json={}, headers=bearer(ME))
    assert (answer.status_code, answer.json["code"]) == (400, "idempotency_key_required")


@pytest.mark.parametrize(
    ("number", "reason"), [(DECLINED, "card_declined"), (NO_FUNDS, "insufficient_funds")]
)
def test_a_decline_has_its_reason_is_kept_and_leaves_the_order_payable(
    client: FlaskClient, number: str, reason: str
) -> None:
    order_id, key = new_order(ME), ids.new_id()
    answer = pay(client, ME, order_id, method=card(number), key=key)
    assert (answer.status_code, answer.json["code"]) == (402, "card_declined")
    assert answer.content_type == "application/problem+json"
    assert answer.json["payment"]["state"] == "failed"
    assert answer.json["payment"]["failure"]["reason"] == reason
    replay = pay(client, ME, order_id, method=card(number), key=key)
    assert replay.data == answer.data
    (event,) = emitted()
    assert (event.type, event.data["reason"]) == ("payment.failed", reason)
    assert violation(event.type, event.data) is None
    assert pay(client, ME, order_id).json["state"] == "completed"


def test_only_the_exact_amount_and_currency(client: FlaskClient) -> None:
    order_id = new_order(ME)
    answer = pay(client, ME, order_id, amount_minor=119_999)
    assert (answer.status_code, answer.json["code"]) == (422, "amount_mismatch")
    assert [each["field"] for each in answer.json["errors"]] == ["amount"]
    body = {
        "reference": {"type": "order", "id": order_id},
        "amount": {"amount_minor": 120_000, "currency": "USD"},
        "method": card(),
    }
    answer = client.post("/api/payment/process", json=body, headers=bearer(ME, key="k"))
    assert (answer.status_code, answer.json["code"]) == (422, "amount_mismatch")
    assert emitted() == []


def test_only_the_owner(client: FlaskClient) -> None:
    answer = pay(client, ids.new_id(), new_order(ME))
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")
    mine = pay(client, ME, new_order(ME)).json["id"]
    assert client.get(f"/api/payment/payments/{mine}", headers=bearer(ids.new_id())).status_code == 404


def test_only_once(client: FlaskClient) -> None:
    order_id = new_order(ME)
    pay(client, ME, order_id)
    answer = pay(client, ME, order_id)
    assert (answer.status_code, answer.json["code"]) == (409, "already_paid")
    waiting = new_order(ME)
    assert pay(client, ME, waiting, method=card(ASKS_OTP)).json["state"] == "requires_action"
    answer = pay(client, ME, waiting)
    assert (answer.status_code, answer.json["code"]) == (409, "already_paid")


def test_nothing_is_taken_for_a_cancelled_order(client: FlaskClient) -> None:
    order_id = new_order(ME)
    order_event("order.cancelled", order_id, ME)
    answer = pay(client, ME, order_id)
    assert (answer.status_code, answer.json["code"]) == (409, "not_payable")


def test_a_cancellation_that_arrives_before_its_order_still_counts(client: FlaskClient) -> None:
    order_id = ids.new_id()
    order_event("order.cancelled", order_id, ME)
    order_event("order.created", order_id, ME)
    assert pay(client, ME, order_id).json["code"] == "not_payable"


def test_an_order_id_is_not_an_invoice_id(client: FlaskClient) -> None:
    with clock.frozen(clock.now()):
        order_id = new_order(ME)
        clock.move(timedelta(hours=1))
        assert pay(client, ME, order_id, kind="invoice").status_code == 404


def test_an_unknown_old_or_foreign_id_is_refused_without_waiting(client: FlaskClient) -> None:
    for unknown in ("5f8b6c1e-8f0a-4a53-9d59-0a3a3f0c9c11", "01890a5d-ac96-774b-bcce-b302099a8057"):
        answer = pay(client, ME, unknown)
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")


def test_the_banks_password_completes_the_payment(client: FlaskClient) -> None:
    payment = pay(client, ME, new_order(ME), method=card(ASKS_OTP))
    assert (payment.status_code, payment.json["state"]) == (201, "requires_action")
    assert payment.json["action"]["tries_left"] == 3
    wrong = confirm(client, payment.json["id"], "000000")
    assert (wrong.status_code, wrong.json["code"], wrong.json["tries_left"]) == (422, "otp_invalid", 2)
    assert confirm(client, payment.json["id"], "123456", ids.new_id()).status_code == 404
    right = confirm(client, payment.json["id"], "123456")
    assert (right.status_code, right.json["state"]) == (200, "completed")
    again = confirm(client, payment.json["id"], "123456")
    assert (again.status_code, again.json["code"]) == (409, "no_action_pending")
    assert [event.type for event in emitted()] == ["payment.action_required", "payment.completed"]
    assert all(violation(event.type, event.data) is None for event in emitted())


def test_three_wrong_passwords_end_the_payment_and_free_the_order(client: FlaskClient) -> None:
    order_id = new_order(ME)
    payment_id = pay(client, ME, order_id, method=card(ASKS_OTP)).json["id"]
    answers = [confirm(client, payment_id, f"00000{n}") for n in range(3)]
    assert [answer.status_code for answer in answers] == [422, 422, 402]
    assert answers[2].json["payment"]["failure"]["reason"] == "otp_failed"
    assert confirm(client, payment_id, "123456").status_code == 409
    assert pay(client, ME, order_id).json["state"] == "completed"


def test_a_late_password_is_refused_and_nobody_needs_to_ask(client: FlaskClient) -> None:
    with clock.frozen(clock.now()):
        first, second = new_order(ME), new_order(ME)
        late = pay(client, ME, first, method=card(ASKS_OTP)).json["id"]
        silent = pay(client, ME, second, method=card(ASKS_OTP)).json["id"]
        clock.move(timedelta(seconds=301))
        answer = confirm(client, late, "123456")
        assert answer.json["payment"]["failure"]["reason"] == "otp_expired"
        advance_payments()
        found = client.get(f"/api/payment/payments/{silent}", headers=bearer(ME)).json
        assert (found["state"], found["failure"]["reason"]) == ("failed", "otp_expired")


@pytest.mark.parametrize(
    "changes",
    [
        {"number": "4242424242424241"},
        {"number": "4242"},
        {"number": "4242 4242 4242 424x"},
        {"number": 4242424242424242},
        {"exp_year": 2026, "exp_month": 10},
        {"exp_month": 13},
        {"cvc": "12"},
        {"cvc": "12a"},
        {"name": ""},
        {"extra": 1},
    ],
)
def test_a_card_that_cannot_be_one_is_refused_without_being_shown(client: FlaskClient, changes: dict) -> None:
    with clock.frozen(clock.now().replace(2026, 11, 21)):
        answer = pay(client, ME, new_order(ME), method=card(**{"number": GOOD} | changes))
        assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")
        shown = str(changes.get("number", GOOD))
        assert not tells(answer.text, shown)
        assert emitted() == []


@pytest.mark.parametrize(
    "body",
    [
        {"method": {"type": "card"}},
        {"method": {"type": "wallet", "card": {}}},
        {"method": {"type": "saved"}},
        {"method": {"type": "cash"}},
        {"amount": {"amount_minor": 0, "currency": "LKR"}},
        {"amount": {"amount_minor": -5, "currency": "LKR"}},
        {"amount": {"amount_minor": 10**16, "currency": "LKR"}},
        {"amount": {"amount_minor": 1200.5, "currency": "LKR"}},
        {"amount": {"amount_minor": "120000", "currency": "LKR"}},
        {"amount": {"amount_minor": 120000, "currency": "rupees"}},
        {"reference": {"type": "order"}},
        {"reference": {"type": "top_up", "id": ME}},
        {"reference": {"type": "order", "id": "not-an-id"}},
        {"reference": {"type": "loan", "id": ME}},
        {"surprise": True},
        {"save_method": "yes"},
    ],
)
def test_a_body_that_makes_no_sense_is_refused(client: FlaskClient, body: dict) -> None:
    sound = {"reference": {"type": "order", "id": ME}, "amount": {"amount_minor": 1, "currency": "LKR"}}
    answer = client.post(
        "/api/payment/process", json=sound | {"method": card()} | body, headers=bearer(ME, key="k")
    )
    assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")


def test_a_saved_method_that_is_not_there_is_not_found(client: FlaskClient) -> None:
    answer = pay(client, ME, new_order(ME), method={"type": "saved", "saved_method_id": ids.new_id()})
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


def test_agents_do_not_pay(client: FlaskClient) -> None:
    answer = client.post("/api/payment/process", json={}, headers=bearer(ME, "agent", key="k"))
    assert answer.status_code == 403
