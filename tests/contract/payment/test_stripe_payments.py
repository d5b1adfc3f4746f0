"""Payments through Stripe's SDK, from the request to the books: 3-D Secure, cancellation, callbacks."""

import logging
from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from common import clock, ids
from common.db import reading
from payment.gateway.stripe import StripeGateway
from payment.jobs import advance_payments, make_refunds
from payment.models import Payment
from tests.support.payments import ASKS_OTP, DECLINED, GOOD, card, new_order, order_event, pay
from tests.support.secrecy import tells
from tests.support.services import bearer, emitted, service_fixtures
from tests.support.stripe_server import WEBHOOK_SECRET, FakeStripe, signed, stripe_server

ME = ids.new_id()
database_url, app, client = service_fixtures("payment", gateway="stripe", stripe_api_key="sk_test_x")


@pytest.fixture
def fake(app: Flask) -> Iterator[FakeStripe]:
    with stripe_server() as server:
        gateways = app.extensions["payment_gateways"]
        gateway = StripeGateway("sk_test_x", WEBHOOK_SECRET, "http://localhost:8000", server.url)
        gateways.inner["stripe"] = gateways.named("stripe")._gateway = gateway
        yield server


def challenged(client: FlaskClient, order_id: str) -> str:
    answer = pay(client, ME, order_id, method=card(ASKS_OTP))
    assert (answer.status_code, answer.json["state"]) == (201, "requires_action")
    assert answer.json["action"]["type"] == "redirect"
    assert answer.json["action"]["url"].startswith("https://")
    payment_id: str = answer.json["id"]
    return payment_id


def ended(payment_id: str) -> tuple[str, str | None]:
    with reading() as session:
        payment = session.get_one(Payment, payment_id)
    return payment.state.value, payment.failure_reason


def only_intent(fake: FakeStripe) -> dict:
    (intent,) = fake.intents.values()
    return intent


def test_the_challenge_of_a_cancelled_order_is_called_off_at_stripe(
    client: FlaskClient, fake: FakeStripe
) -> None:
    order_id = new_order(ME)
    payment_id = challenged(client, order_id)
    order_event("order.cancelled", order_id, ME)
    advance_payments()
    assert ended(payment_id) == ("failed", "not_payable")
    assert only_intent(fake)["status"] == "canceled"
    assert fake.captured() == 0


def test_what_the_customer_confirms_after_the_order_was_cancelled_goes_back(
    client: FlaskClient, fake: FakeStripe
) -> None:
    order_id = new_order(ME)
    payment_id = challenged(client, order_id)
    order_event("order.cancelled", order_id, ME)
    fake.authenticate(only_intent(fake)["id"])
    advance_payments()
    make_refunds()
    assert ended(payment_id) == ("refunded", None)
    assert sum(refund["amount"] for refund in fake.refunds) == fake.captured() == 120_000
    assert [event.type for event in emitted()][-2:] == ["payment.completed", "payment.refunded"]


@pytest.mark.parametrize("way", ["callback", "customer asks", "nobody says"])
def test_a_challenge_passed_on_the_banks_page_completes_the_payment(
    client: FlaskClient, fake: FakeStripe, way: str
) -> None:
    with clock.frozen(clock.now()):
        payment_id = challenged(client, new_order(ME))
        fake.authenticate(only_intent(fake)["id"])
        if way == "callback":
            body, headers = signed("payment_intent.succeeded", only_intent(fake))
            path = "/api/payment/webhooks/stripe"
            assert client.post(path, data=body + b" ", headers=headers).status_code == 401
            assert client.post(path, data=body, headers=headers).status_code == 200
            advance_payments()
        elif way == "customer asks":
            path = f"/api/payment/payments/{payment_id}/confirm"
            assert client.post(path, json={"otp": "0000"}, headers=bearer(ME)).json["state"] == "completed"
        else:
            clock.move(timedelta(seconds=301))
            advance_payments()
    assert ended(payment_id) == ("completed", None)
    assert [event.type for event in emitted()] == ["payment.action_required", "payment.completed"]


def test_the_sdk_does_not_log_cards_however_much_is_logged(
    client: FlaskClient, fake: FakeStripe, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert pay(client, ME, new_order(ME), method=card(GOOD, cvc="9173")).json["state"] == "completed"
    assert pay(client, ME, new_order(ME), method=card(DECLINED, cvc="9173")).status_code == 402
    logged = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert len(fake.intents) == 2
    assert "POST" in logged
    for secret in (GOOD, DECLINED, "cvc", "9173"):
        assert not tells(logged, secret)


def test_a_card_is_charged_once_and_a_failed_orders_money_goes_back(
    client: FlaskClient, fake: FakeStripe
) -> None:
    order_id, key = new_order(ME), ids.new_id()
    first = pay(client, ME, order_id, method=card(GOOD), key=key)
    assert first.json["state"] == "completed"
    assert pay(client, ME, order_id, method=card(GOOD), key=key).data == first.data
    order_event("order.failed", order_id, ME)
    make_refunds()
    make_refunds()
    assert [refund["amount"] for refund in fake.refunds] == [120_000]
    assert ended(first.json["id"]) == ("refunded", None)
