"""Callbacks of a gateway: believed when signed and fresh, harmless in any order and number."""

from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from common import clock, ids
from common.db import reading
from payment.gateway import Notice, NoticeKind
from payment.jobs import advance_payments, make_refunds
from payment.models import Payment
from tests.support.payments import LOSES_ANSWER, card, gateway_of, new_order, order_event, pay
from tests.support.services import bearer, emitted

ME = ids.new_id()
PATH = "/api/payment/webhooks/simulated"


def due(payment_id: str) -> bool:
    with reading() as session:
        at = session.get_one(Payment, payment_id).check_at
    return at is not None and at <= clock.now()


def send(client: FlaskClient, signed: tuple[bytes, dict[str, str]]) -> int:
    return client.post(PATH, data=signed[0], headers=signed[1]).status_code


def test_a_callback_has_the_outcome_asked_at_once_instead_of_later(app: Flask, client: FlaskClient) -> None:
    payment_id = pay(client, ME, new_order(ME), method=card(LOSES_ANSWER)).json["id"]
    notice = gateway_of(app).write_notice(Notice(NoticeKind.CHARGE, payment_id))
    assert not due(payment_id)
    assert send(client, notice) == 200
    assert due(payment_id)
    advance_payments()
    assert [event.type for event in emitted()] == ["payment.completed"]
    for _ in range(3):
        assert send(client, notice) == 200
        advance_payments()
    assert [event.type for event in emitted()] == ["payment.completed"]


def test_callbacks_out_of_order_and_twice_change_nothing(app: Flask, client: FlaskClient) -> None:
    order_id = new_order(ME)
    payment_id = pay(client, ME, order_id).json["id"]
    order_event("order.failed", order_id, ME)
    gateway = gateway_of(app)
    notices = [
        gateway.write_notice(Notice(kind, payment_id)) for kind in (NoticeKind.REFUND, NoticeKind.CHARGE)
    ]
    for notice in (*notices, *reversed(notices)):
        assert send(client, notice) == 200
        advance_payments()
        make_refunds()
    assert [event.type for event in emitted()] == ["payment.completed", "payment.refunded"]


@pytest.mark.parametrize("key", [ids.new_id(), "not-an-id", "x" * 5000])
@pytest.mark.parametrize("kind", list(NoticeKind))
def test_an_unknown_id_is_taken_and_ignored(
    app: Flask, client: FlaskClient, key: str, kind: NoticeKind
) -> None:
    assert send(client, gateway_of(app).write_notice(Notice(kind, key))) == 200
    assert emitted() == []


def test_a_wrong_signature_an_old_or_future_timestamp_and_other_bodies_are_refused(
    app: Flask, client: FlaskClient
) -> None:
    payment_id = pay(client, ME, new_order(ME), method=card(LOSES_ANSWER)).json["id"]
    notice, gateway = Notice(NoticeKind.CHARGE, payment_id), gateway_of(app)
    body, headers = gateway.write_notice(notice)
    for wrong in (
        (body, headers | {"Simulated-Signature": "0" * 64}),
        (body, {}),
        (body, headers | {"Simulated-Timestamp": "soon"}),
        (body, headers | {"Simulated-Signature": "ä"}),
        (body.replace(b"charge", b"refund"), headers),
        gateway.write_notice(notice, at=clock.now() - timedelta(seconds=301)),
        gateway.write_notice(notice, at=clock.now() + timedelta(seconds=301)),
    ):
        answer = client.post(PATH, data=wrong[0], headers=wrong[1])
        assert (answer.status_code, answer.json["code"]) == (401, "webhook_not_authentic")
    assert not due(payment_id)
    assert client.post("/api/payment/webhooks/unheard-of", data=body, headers=headers).status_code == 404


def test_a_chargeback_is_a_case_for_a_person(app: Flask, client: FlaskClient) -> None:
    payment_id = pay(client, ME, new_order(ME)).json["id"]
    notice = gateway_of(app).write_notice(Notice(NoticeKind.CHARGEBACK, payment_id, "fraudulent"))
    assert [send(client, notice), send(client, notice)] == [200, 200]
    (case,) = client.get("/api/payment/admin/cases", headers=bearer(ids.new_id(), "admin")).json["items"]
    assert (case["kind"], case["payment_id"]) == ("chargeback", payment_id)
