"""Card numbers and CVCs are nowhere but in memory and at the gateway."""

import json
import logging

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import inspect, text

from common import clock, ids
from common.db import db
from payment.jobs import advance_payments
from payment.schemas import ProcessIn
from tests.support.payments import (
    ASKS_OTP,
    DECLINED,
    GOOD,
    LOSES_ANSWER,
    card,
    lkr,
    new_order,
    order_event,
    pay,
)

ME = ids.new_id()
CVC = "9173"
AMEX = "378282246310005"
NUMBERS = (GOOD, DECLINED, ASKS_OTP, LOSES_ANSWER, AMEX)


def everything_stored() -> str:
    with db.engine.connect() as connection:
        tables = inspect(connection).get_table_names()
        quote = connection.dialect.identifier_preparer.quote
        rows = [connection.execute(text(f"SELECT * FROM {quote(table)}")).all() for table in tables]
    return repr(rows)


def test_no_card_number_or_cvc_rests_in_a_table_or_a_log(
    app: Flask, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said = []
    with clock.frozen(clock.now().replace(microsecond=0)):
        for number in NUMBERS:
            said.append(pay(client, ME, new_order(ME), method=card(number, cvc=CVC)).text)
            said.append(pay(client, ME, new_order(ME), method=card(number, cvc=CVC, exp_month=13)).text)
        early = ids.new_id()
        said.append(pay(client, ME, early, method=card(AMEX, cvc=CVC)).text)
        order_event("order.created", early, ME)
        advance_payments()
    places = {
        "tables": everything_stored(),
        "answers": "\n".join(said),
        "log": "\n".join(
            f"{record.getMessage()} {record.__dict__} {record.exc_text}" for record in caplog.records
        ),
    }
    for place, content in places.items():
        assert len(content) > 100
        for secret in NUMBERS:
            assert secret not in content, place
        assert f"'{CVC}'" not in content, place
        assert f'"{CVC}"' not in content, place


def test_a_request_with_a_card_prints_without_it() -> None:
    body = ProcessIn.model_validate_json(
        json.dumps({"reference": {"type": "order", "id": ME}, "amount": lkr(5), "method": card(cvc=CVC)})
    )
    assert body.method.card is not None
    for shown in (repr(body), str(body), body.model_dump_json(), repr(body.method.card.card())):
        assert GOOD not in shown
        assert CVC not in shown
