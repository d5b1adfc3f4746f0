"""Paying right after ordering: the order's event may come a moment, or much, later."""

import threading
import time
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from common import clock, ids
from common.db import reading, transaction
from common.db.tables import Heartbeat
from payment.gateway.simulated import SimulatedCharge, SimulatedToken
from payment.jobs import advance_payments, forget_methods
from payment.models import Payment
from payment.use_cases import payments
from tests.support.payments import (
    ASKS_OTP,
    DECLINED,
    LOSES_ANSWER,
    WALLET,
    balance,
    card,
    new_order,
    order_event,
    pay,
    top_up,
)
from tests.support.services import bearer, emitted

ME = ids.new_id()


def read(client: FlaskClient, payment_id: str) -> dict:
    return client.get(f"/api/payment/payments/{payment_id}", headers=bearer(ME)).json


def cards_left() -> tuple[int, int]:
    """Tokens that we hold, and cards that the gateway holds."""
    with reading() as session:
        held = select(func.count()).where(Payment.gateway_token.is_not(None))
        return session.scalar(held) or 0, session.scalar(select(func.count(SimulatedToken.token))) or 0


def charges() -> int:
    with reading() as session:
        return len(session.scalars(select(SimulatedCharge.key)).all())


def test_an_event_a_moment_late_is_waited_for(app: Flask, client: FlaskClient) -> None:
    order_id = ids.new_id()

    def arrive() -> None:
        time.sleep(0.04)
        with app.app_context():
            order_event("order.created", order_id, ME)

    thread = threading.Thread(target=arrive)
    thread.start()
    answer = pay(client, ME, order_id)
    thread.join()
    assert (answer.status_code, answer.json["state"]) == (201, "completed")


def test_a_payment_accepted_before_its_order_is_charged_when_the_order_arrives(client: FlaskClient) -> None:
    order_id = ids.new_id()
    answer = pay(client, ME, order_id)
    assert (answer.status_code, answer.json["state"]) == (201, "processing")
    assert answer.json["method"] == {"type": "card", "brand": "visa", "last4": "4242"}
    assert (charges(), emitted()) == (0, [])
    assert pay(client, ME, order_id).json["code"] == "already_paid"
    order_event("order.created", order_id, ME)
    advance_payments()
    advance_payments()
    assert read(client, answer.json["id"])["state"] == "completed"
    assert charges() == 1
    assert [event.type for event in emitted()] == ["payment.completed"]
    with clock.frozen(clock.now() + timedelta(minutes=11)):  # also that of the one that was refused
        forget_methods()
    assert cards_left() == (0, 0)


@pytest.mark.parametrize(
    ("owner", "amount", "reason"),
    [(None, 120_000, "not_found"), (ME, 120_001, "amount_mismatch")],
)
def test_an_early_payment_that_does_not_fit_its_order_fails_and_is_not_charged(
    client: FlaskClient, owner: str | None, amount: int, reason: str
) -> None:
    order_id = ids.new_id()
    payment_id = pay(client, ME, order_id).json["id"]
    order_event("order.created", order_id, owner or ids.new_id(), amount)
    advance_payments()
    found = read(client, payment_id)
    assert (found["state"], found["failure"]["reason"]) == ("failed", reason)
    assert charges() == 0
    assert [event.data["reason"] for event in emitted("payment.failed")] == [reason]
    assert cards_left() == (1, 1)
    forget_methods()
    assert cards_left() == (0, 0)


@pytest.mark.parametrize("early", [True, False])
def test_a_repeated_request_leaves_no_card_at_the_gateway_again(client: FlaskClient, early: bool) -> None:
    order_id, key = ids.new_id() if early else new_order(ME), ids.new_id()
    wanted = {"key": key, "method": card(ASKS_OTP), "save_method": True}
    first = pay(client, ME, order_id, **wanted)
    assert first.json["state"] == ("processing" if early else "requires_action")
    assert cards_left() == (1, 1)
    again = pay(client, ME, order_id, **wanted)
    assert (again.data, again.headers["Idempotent-Replayed"]) == (first.data, "true")
    assert cards_left() == (1, 1)


def test_an_early_payment_for_a_cancelled_order_fails(client: FlaskClient) -> None:
    order_id = ids.new_id()
    payment_id = pay(client, ME, order_id).json["id"]
    order_event("order.cancelled", order_id, ME)
    advance_payments()
    assert read(client, payment_id)["failure"]["reason"] == "not_payable"
    assert charges() == 0


def test_an_early_payment_can_be_declined_later(client: FlaskClient) -> None:
    order_id = ids.new_id()
    payment_id = pay(client, ME, order_id, method=card(DECLINED)).json["id"]
    order_event("order.created", order_id, ME)
    advance_payments()
    assert read(client, payment_id)["failure"]["reason"] == "card_declined"


def test_an_early_payment_from_the_wallet_is_made_when_the_order_arrives(client: FlaskClient) -> None:
    top_up(client, ME, 150_000)
    first, second = ids.new_id(), ids.new_id()
    made = pay(client, ME, first, method=WALLET).json
    poor = pay(client, ME, second, method=WALLET).json
    assert made["state"] == poor["state"] == "processing"
    order_event("order.created", first, ME)
    order_event("order.created", second, ME)
    advance_payments()
    states = sorted(read(client, payment["id"])["state"] for payment in (made, poor))
    assert states == ["completed", "failed"]
    assert balance(client, ME) == 30_000


def test_an_order_that_arrives_between_two_looks_is_paid_from_the_wallet(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first statement does not see it yet, the second one does."""
    top_up(client, ME, 150_000)
    order_id, take, looks = new_order(ME), payments.take_payable, iter((False,))

    def take_later(session: Session, payment: Payment) -> bool:
        return next(looks, None) is None and take(session, payment)

    monkeypatch.setattr(payments, "take_payable", take_later)
    answer = pay(client, ME, order_id, method=WALLET)
    assert (answer.status_code, answer.json.get("state")) == (201, "completed"), answer.text
    assert balance(client, ME) == 30_000


def test_an_early_charge_with_a_lost_answer_is_settled_by_asking(client: FlaskClient) -> None:
    with clock.frozen(clock.now()):
        order_id = ids.new_id()
        payment_id = pay(client, ME, order_id, method=card(LOSES_ANSWER)).json["id"]
        order_event("order.created", order_id, ME)
        advance_payments()
        assert read(client, payment_id)["state"] == "processing"
        clock.move(timedelta(seconds=31))
        advance_payments()
    assert read(client, payment_id)["state"] == "completed"
    assert charges() == 1


def test_a_reference_that_never_turns_up_fails_after_ten_minutes(client: FlaskClient) -> None:
    with clock.frozen(clock.now()):
        payment_id = pay(client, ME, ids.new_id()).json["id"]
        for _ in range(12):
            clock.move(timedelta(seconds=50))
            advance_payments()
            if clock.now() - timedelta(seconds=590) < _made(payment_id):
                assert read(client, payment_id)["state"] == "processing"
        clock.move(timedelta(seconds=10))
        advance_payments()
    assert read(client, payment_id)["failure"]["reason"] == "reference_unknown"
    assert len(emitted("payment.failed")) == 1


def _made(payment_id: str):
    with reading() as session:
        return session.get(Payment, payment_id).created_at


def test_an_id_from_beyond_all_time_is_unknown(client: FlaskClient) -> None:
    assert pay(client, ME, "ffffffff-ffff-7fff-bfff-ffffffffffff").status_code == 404


def test_a_stranger_cannot_block_an_order_by_paying_early(client: FlaskClient) -> None:
    order_id = ids.new_id()
    pay(client, ids.new_id(), order_id)
    order_event("order.created", order_id, ME)
    assert pay(client, ME, order_id).json["state"] == "completed"


def wait_for_references(app: Flask, seconds: float) -> None:
    app.extensions["sricare_settings"] = app.extensions["sricare_settings"].model_copy(
        update={"reference_wait_s": seconds}
    )


def test_with_the_broker_known_to_be_away_nobody_waits(app: Flask, client: FlaskClient) -> None:
    wait_for_references(app, 60.0)
    with transaction() as session:
        session.add(Heartbeat(name="payment.worker", beaten_at=clock.now(), broker_connected=False))
    started = time.monotonic()
    assert pay(client, ME, ids.new_id()).json["state"] == "processing"
    assert time.monotonic() - started < 30


def test_made_up_ids_do_not_hold_more_than_a_few_threads(app: Flask, client: FlaskClient) -> None:
    """While as many requests wait as may, the next one is accepted at once instead of waiting too."""
    wait_for_references(app, 60.0)
    waiters: threading.BoundedSemaphore = app.extensions["payment_waiters"]
    for _ in range(app.extensions["sricare_settings"].waiting_requests):
        assert waiters.acquire(blocking=False)
    started = time.monotonic()
    answer = pay(client, ME, ids.new_id())
    assert (answer.status_code, answer.json["state"]) == (201, "processing")
    assert time.monotonic() - started < 30
    waiters.release()
    wait_for_references(app, 0.05)
    assert pay(client, ME, ids.new_id()).status_code == 201
    assert waiters.acquire(blocking=False), "a request that has waited lets the next one wait"
