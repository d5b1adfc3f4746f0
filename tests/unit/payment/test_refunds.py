"""Money goes back by itself when its order fails or is cancelled, once, to where it came from."""

from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from common import clock, ids
from common.contracts import violation
from common.db import reading
from payment.gateway import GatewayTrouble
from payment.gateway.simulated import SimulatedCharge, SimulatedRefund
from payment.jobs import make_refunds
from tests.support.payments import (
    ASKS_OTP,
    WALLET,
    balance,
    card,
    gateway_of,
    invoice_event,
    new_order,
    order_event,
    pay,
    top_up,
)
from tests.support.services import bearer, emitted

ME = ids.new_id()


def refunded_at_the_gateway() -> list[int]:
    with reading() as session:
        return list(session.scalars(select(SimulatedRefund.amount_minor)))


def state_of(client: FlaskClient, payment_id: str) -> str:
    return client.get(f"/api/payment/payments/{payment_id}", headers=bearer(ME)).json["state"]


@pytest.mark.parametrize("event", ["order.failed", "order.cancelled"])
def test_a_failed_or_cancelled_orders_money_goes_back_to_the_card_once(
    client: FlaskClient, event: str
) -> None:
    order_id = new_order(ME)
    payment_id = pay(client, ME, order_id).json["id"]
    order_event(event, order_id, ME)
    order_event(event, order_id, ME)
    assert state_of(client, payment_id) == "refunding"
    make_refunds()
    make_refunds()
    assert state_of(client, payment_id) == "refunded"
    assert refunded_at_the_gateway() == [120_000]
    (told,) = emitted("payment.refunded")
    assert violation(told.type, told.data) is None
    assert told.data["payment_id"] == payment_id
    assert pay(client, ME, order_id).json["code"] == "not_payable"


def test_what_the_wallet_paid_goes_back_to_the_wallet(client: FlaskClient) -> None:
    top_up(client, ME, 120_000)
    order_id = new_order(ME)
    pay(client, ME, order_id, method=WALLET)
    assert balance(client, ME) == 0
    order_event("order.failed", order_id, ME)
    make_refunds()
    make_refunds()
    assert balance(client, ME) == 120_000
    assert refunded_at_the_gateway() == []
    assert len(emitted("payment.refunded")) == 1


def test_a_refund_whose_answer_is_lost_is_not_made_twice(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id = new_order(ME)
    payment_id = pay(client, ME, order_id).json["id"]
    order_event("order.failed", order_id, ME)
    gateway = gateway_of(app)
    refund = gateway.refund

    def lose_the_answer(**wanted: object) -> None:
        refund(**wanted)
        raise GatewayTrouble("lost")

    with clock.frozen(clock.now()):
        clock.move(timedelta(seconds=1))
        monkeypatch.setattr(gateway, "refund", lose_the_answer)
        make_refunds()
        assert state_of(client, payment_id) == "refunding"
        monkeypatch.undo()
        make_refunds()  # not due yet
        assert state_of(client, payment_id) == "refunding"
        clock.move(timedelta(seconds=6))
        make_refunds()
    assert state_of(client, payment_id) == "refunded"
    assert refunded_at_the_gateway() == [120_000]
    assert len(emitted("payment.refunded")) == 1


def test_an_order_cancelled_while_its_card_is_charged_gets_its_money_back(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id = new_order(ME)
    gateway = gateway_of(app)
    charge = gateway.charge

    def cancel_meanwhile(**wanted: object) -> object:
        order_event("order.cancelled", order_id, ME)
        return charge(**wanted)

    monkeypatch.setattr(gateway, "charge", cancel_meanwhile)
    answer = pay(client, ME, order_id)
    assert (answer.status_code, answer.json["state"]) == (201, "refunding")
    make_refunds()
    assert refunded_at_the_gateway() == [120_000]
    assert [event.type for event in emitted()] == ["payment.completed", "payment.refunded"]


def test_an_invoice_paid_elsewhere_while_the_bank_asks_is_not_paid_again(client: FlaskClient) -> None:
    invoice_id = ids.new_id()
    invoice_event("invoice.issued", invoice_id, ME, 5_000)
    waiting = pay(client, ME, invoice_id, kind="invoice", amount_minor=5_000, method=card(ASKS_OTP)).json
    invoice_event("invoice.paid", invoice_id, ME, 5_000, payment_id=ids.new_id(), paid_at="x")
    answer = client.post(
        f"/api/payment/payments/{waiting['id']}/confirm", json={"otp": "123456"}, headers=bearer(ME)
    )
    assert (answer.status_code, answer.json["payment"]["failure"]["reason"]) == (402, "already_paid")
    with reading() as session:
        assert session.scalars(select(SimulatedCharge.verdict)).all() == ["cancelled"]
