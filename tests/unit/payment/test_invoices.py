"""What is due on an invoice changes: issued, paid, owed again, owed in another amount, voided, in any order."""

from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from common import clock, ids
from common.db import transaction
from payment.gateway import Outcome, Verdict
from payment.handlers import HANDLERS
from payment.jobs import make_refunds
from payment.models import Payment
from payment.use_cases import payments
from tests.support.payments import gateway_of, invoice_event, lkr, pay
from tests.support.services import an_event, bearer, deliver, emitted

ME = ids.new_id()


def invoice(client: FlaskClient, invoice_id: str, amount_minor: int) -> int:
    return pay(client, ME, invoice_id, kind="invoice", amount_minor=amount_minor).status_code


def tell(event_type: str, invoice_id: str, due: int, total: int = 5_000, **more: object) -> None:
    invoice_event(event_type, invoice_id, ME, total, **{"amount_due": lkr(due), **more})


def test_an_invoice_owed_again_after_a_refund_can_be_paid_again(client: FlaskClient) -> None:
    invoice_id = ids.new_id()
    tell("invoice.issued", invoice_id, 5_000)
    first = pay(client, ME, invoice_id, kind="invoice", amount_minor=5_000).json["id"]
    tell("invoice.paid", invoice_id, 0, payment_id=first, paid_at="x")
    assert invoice(client, invoice_id, 5_000) == 409
    tell("invoice.reopened", invoice_id, 2_000, reason="payment_refunded")
    assert invoice(client, invoice_id, 5_000) == 422
    assert invoice(client, invoice_id, 2_000) == 201


def test_a_payment_settled_twice_does_not_take_what_is_owed_again(client: FlaskClient) -> None:
    """The second settling may come late: the janitor had asked the gateway before the first was written down."""
    invoice_id = ids.new_id()
    tell("invoice.issued", invoice_id, 5_000)
    first = pay(client, ME, invoice_id, kind="invoice", amount_minor=5_000).json["id"]
    tell("invoice.reopened", invoice_id, 5_000, reason="payment_refunded")
    with transaction() as session:
        payment = session.get_one(Payment, first)
        payments.settle_charge(session, payment, Outcome(Verdict.CAPTURED), action_s=300)
    assert invoice(client, invoice_id, 5_000) == 201
    assert len(emitted("payment.completed")) == 2


def test_a_voided_invoice_cannot_be_paid_and_what_was_paid_stays_credit(client: FlaskClient) -> None:
    invoice_id, other = ids.new_id(), ids.new_id()
    tell("invoice.issued", invoice_id, 5_000)
    tell("invoice.issued", other, 5_000)
    assert invoice(client, other, 5_000) == 201
    tell("invoice.voided", invoice_id, 0)
    tell("invoice.voided", other, 0)
    answer = pay(client, ME, invoice_id, kind="invoice", amount_minor=5_000)
    assert (answer.status_code, answer.json["code"]) == (409, "not_payable")
    make_refunds()
    assert emitted("payment.refunded") == []


def test_an_older_event_that_comes_later_changes_nothing(client: FlaskClient) -> None:
    invoice_id = ids.new_id()
    data = {"invoice_id": invoice_id, "user_id": ME, "total": lkr(5_000), "amount_due": lkr(5_000)}
    issued = an_event("invoice.issued", ME, data, time=clock.now() - timedelta(seconds=9))
    tell("invoice.voided", invoice_id, 0)
    deliver(HANDLERS, issued)
    assert pay(client, ME, invoice_id, kind="invoice", amount_minor=5_000).json["code"] == "not_payable"


def test_a_charge_for_an_amount_that_changed_meanwhile_goes_back(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoice_id = ids.new_id()
    tell("invoice.issued", invoice_id, 5_000)
    gateway = gateway_of(app)
    charge = gateway.charge

    def change_meanwhile(**wanted: object) -> object:
        tell("invoice.reopened", invoice_id, 3_000, reason="credit_note")
        return charge(**wanted)

    monkeypatch.setattr(gateway, "charge", change_meanwhile)
    answer = pay(client, ME, invoice_id, kind="invoice", amount_minor=5_000)
    monkeypatch.undo()
    make_refunds()
    read = client.get(f"/api/payment/payments/{answer.json['id']}", headers=bearer(ME)).json
    assert read["state"] == "refunded"
    assert invoice(client, invoice_id, 3_000) == 201
