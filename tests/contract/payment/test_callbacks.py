"""The simulated gateway's callbacks over real HTTP: late, twice, in any order, again until they are taken."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.serving import make_server

from common import clock, ids
from common.db import reading
from payment.gateway import Notice, NoticeKind
from payment.gateway.simulated import Callbacks, SimulatedCallback, SimulatedGateway
from payment.jobs import advance_payments, make_refunds, send_callbacks
from tests.support.http_sink import HttpSink, http_sink
from tests.support.payments import LOSES_ANSWER, card, new_order, order_event, pay
from tests.support.services import emitted, service_fixtures

ME, SECRET = ids.new_id(), "whsec_of_the_tests"
database_url, app, client = service_fixtures(
    "payment", simulated_webhook_secret=SECRET, simulated_webhook_url="http://127.0.0.1:9/"
)


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    with clock.frozen(clock.now()):
        yield


def send_to(app: Flask, url: str, *, latest_s: int = 60, copies: int = 2) -> SimulatedGateway:
    """Have the application's gateway call back there."""
    callbacks = Callbacks(url, timedelta(seconds=latest_s), copies, random.Random(7))
    gateways, made = (
        app.extensions["payment_gateways"],
        SimulatedGateway(webhook_secret=SECRET, callbacks=callbacks),
    )
    gateways.inner["simulated"] = gateways.named("simulated")._gateway = made
    return made


def left() -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(SimulatedCallback)) or 0


def read(gateway: SimulatedGateway, sink: HttpSink) -> list[Notice | None]:
    headers = ({name.title(): value for name, value in got.headers.items()} for got in sink.got)
    return [gateway.read_notice(got.body, named) for got, named in zip(sink.got, headers, strict=True)]


def test_they_come_late_twice_and_out_of_order_and_are_signed_when_sent(
    app: Flask, client: FlaskClient
) -> None:
    with http_sink() as sink:
        gateway = send_to(app, sink.url, latest_s=3600)
        paid = [pay(client, ME, new_order(ME)).json["id"] for _ in range(4)]
        assert left() == 8
        send_callbacks()
        assert sink.got == []
        clock.move(timedelta(seconds=3600))
        send_callbacks()
        notices = read(gateway, sink)
        send_callbacks()
        assert (left(), len(sink.got)) == (0, 8)
    assert sorted(notice.key for notice in notices if notice) == sorted(paid * 2)
    assert [notice.key for notice in notices if notice] != [key for key in paid for _ in range(2)]


def test_one_that_is_not_taken_comes_again_and_in_the_end_no_more(app: Flask, client: FlaskClient) -> None:
    with http_sink() as sink:
        send_to(app, sink.url, latest_s=0, copies=1)
        sink.answer = lambda _: (503, {}, b"")
        pay(client, ME, new_order(ME))
        send_callbacks()
        send_callbacks()
        assert (len(sink.got), left()) == (1, 1)
        for _ in range(20):
            clock.move(timedelta(hours=1))
            send_callbacks()
        assert (len(sink.got), left()) == (12, 0)


def test_nobody_listening_is_no_harm(app: Flask, client: FlaskClient) -> None:
    send_to(app, "http://127.0.0.1:9/", latest_s=0)
    assert pay(client, ME, new_order(ME)).json["state"] == "completed"
    send_callbacks()
    assert left() == 2


@contextmanager
def listening(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/api/payment/webhooks/simulated"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_payment_takes_them_and_asks_at_once_and_nothing_is_told_twice(
    app: Flask, client: FlaskClient
) -> None:
    with listening(app) as url:
        send_to(app, url, latest_s=0, copies=3)
        order_id = new_order(ME)
        assert pay(client, ME, order_id, method=card(LOSES_ANSWER)).json["state"] == "processing"
        advance_payments()
        assert emitted() == []
        send_callbacks()
        advance_payments()
        assert [event.type for event in emitted()] == ["payment.completed"]
        order_event("order.failed", order_id, ME)
        make_refunds()
        send_callbacks()
        advance_payments()
        make_refunds()
    assert left() == 0
    assert [event.type for event in emitted()] == ["payment.completed", "payment.refunded"]


def test_what_is_not_done_is_not_told(app: Flask, client: FlaskClient) -> None:
    with http_sink() as sink:
        gateway = send_to(app, sink.url, latest_s=0, copies=1)
        gateway.down = True
        pay(client, ME, new_order(ME))
        assert left() == 0
        gateway.down = False
        order_id = new_order(ME)
        pay(client, ME, order_id)
        order_event("order.failed", order_id, ME)
        make_refunds()
        send_callbacks()
        kinds = {notice.kind for notice in read(gateway, sink) if notice}
    assert kinds == {NoticeKind.CHARGE, NoticeKind.REFUND}
