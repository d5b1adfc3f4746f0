"""Card numbers and CVCs are nowhere but in memory and at the gateway."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import inspect, text

from common import clock, ids, tracing
from common.db import db
from payment.jobs import advance_payments
from payment.schemas import ProcessIn
from tests.support.payments import (
    ASKS_OTP,
    DECLINED,
    GOOD,
    LOSES_ANSWER,
    card,
    gateway_of,
    lkr,
    new_order,
    order_event,
    pay,
)
from tests.support.secrecy import tells
from tests.support.services import bearer, emitted

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


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """All that a collector would get."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


def use_cards(app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Cards in every way in which they come: taken, declined, refused, early, saved, and lost in a fault of ours."""
    said = []
    for number in NUMBERS:
        said.append(pay(client, ME, new_order(ME), method=card(number, cvc=CVC)).text)
        said.append(pay(client, ME, new_order(ME), method=card(number, cvc=CVC, exp_month=13)).text)
        said.append(
            client.post("/api/payment/methods", json=card(number, cvc=CVC)["card"], headers=bearer(ME)).text
        )
    early = ids.new_id()
    said.append(pay(client, ME, early, method=card(AMEX, cvc=CVC)).text)
    order_event("order.created", early, ME)
    advance_payments()

    def burst(**given: object) -> None:
        raise RuntimeError(f"with {given}")

    with monkeypatch.context() as patch:
        patch.setattr(gateway_of(app), "charge", burst)
        fault = pay(client, ME, new_order(ME), method=card(AMEX, cvc=CVC))
    assert fault.status_code == 500
    return [*said, fault.text]


def test_no_card_number_or_cvc_rests_anywhere_but_at_the_gateway(
    app: Flask,
    client: FlaskClient,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    spans: InMemorySpanExporter,
    tmp_path: Path,
) -> None:
    caplog.set_level(logging.DEBUG)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    with clock.frozen(clock.now().replace(microsecond=0)):
        said = use_cards(app, client, monkeypatch)
    places = {
        "tables": everything_stored(),
        "events": "\n".join(str(event) for event in emitted()),
        "answers": "\n".join(said),
        "log": "\n".join(
            f"{record.getMessage()} {record.__dict__} {record.exc_text}" for record in caplog.records
        ),
        "traces": "\n".join(span.to_json() for span in spans.get_finished_spans()),
        "metrics": client.get("/metrics").text,
        "files": "\n".join(
            file.read_bytes().decode("latin-1") for file in tmp_path.rglob("*") if file.is_file()
        ),
    }
    assert "with {" in places["log"], "the fault is logged, without what it was about"
    assert "POST /api/payment/process" in places["traces"]
    for place, content in places.items():
        assert len(content) > 100 or place == "files", place
        for secret in NUMBERS:
            assert secret not in content, place
        for shown in (f"'{CVC}'", f'"{CVC}"', f"cvc={CVC}", f"cvc: {CVC}"):
            assert shown not in content, place


def test_a_request_with_a_card_prints_without_it() -> None:
    body = ProcessIn.model_validate_json(
        json.dumps({"reference": {"type": "order", "id": ME}, "amount": lkr(5), "method": card(cvc=CVC)})
    )
    assert body.method.card is not None
    for shown in (repr(body), str(body), body.model_dump_json(), repr(body.method.card.card())):
        assert GOOD not in shown
        assert not tells(shown, CVC)
