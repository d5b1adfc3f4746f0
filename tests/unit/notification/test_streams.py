"""Event streams without a server: a turn of the thread that serves them, by hand."""

import socket
from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask

from common import clock, ids
from common.identity.tokens import Identity
from notification import queries, streams
from notification.streams import Streams
from tests.support.notifications import a_customer, tell


@pytest.fixture
def served(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Streams, str, socket.socket]]:
    """Streams that turn when they are told to, with one reader: the user, and the browser's end."""
    monkeypatch.setattr(Streams, "_ensure_running", lambda _self: None)
    monkeypatch.setattr(streams, "LOOK_EVERY_S", 0.0)
    user_id = a_customer()
    ours, browser = socket.socketpair()
    made, now = Streams(app), clock.now().timestamp()
    identity = Identity(user_id, ids.new_id(), frozenset({"customer"}), now, int(now) + 900)
    list(made.open({"gunicorn.socket": ours, "SERVER_PROTOCOL": "HTTP/1.1"}, identity, None))
    browser.setblocking(False)
    yield made, user_id, browser
    for each in made._all():
        made._drop(each)
    made._selector.close()
    ours.close()
    browser.close()


def got(browser: socket.socket) -> bytes:
    try:
        return browser.recv(65536)
    except BlockingIOError:
        return b""


@pytest.mark.parametrize("by_name", [queries.ASKED_BY_NAME, 0])
def test_a_reader_gets_its_own_news_once_whether_few_or_many_read(
    served: tuple[Streams, str, socket.socket], monkeypatch: pytest.MonkeyPatch, by_name: int
) -> None:
    monkeypatch.setattr(queries, "ASKED_BY_NAME", by_name)
    made, user_id, browser = served
    made._turn()
    tell("invoice.paid", user_id)
    tell("invoice.paid", a_customer())
    for _ in range(3):
        made._turn()
    assert got(browser).count(b'"event_type":"invoice.paid"') == 1


def test_news_of_the_moment_in_which_the_stream_opens_is_not_missed(
    served: tuple[Streams, str, socket.socket],
) -> None:
    made, *_ = served
    user_id, now = a_customer(), clock.now()
    ours, browser = socket.socketpair()
    browser.setblocking(False)
    identity = Identity(user_id, ids.new_id(), frozenset({"customer"}), 0, int(now.timestamp()) + 900)
    body = made.open({"gunicorn.socket": ours, "SERVER_PROTOCOL": "HTTP/1.1"}, identity, None)
    next(body)  # the browser has the answer's head
    tell("invoice.paid", user_id)
    with clock.frozen(clock.now() + timedelta(seconds=1)):
        list(body)
        made._turn()
    assert b"invoice.paid" in got(browser)
    ours.close()
    browser.close()


def test_looks_that_fail_for_a_minute_end_no_stream_and_lose_no_news(
    served: tuple[Streams, str, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, user_id, browser = served
    made._turn()
    tell("invoice.paid", user_id)
    looks = []

    def broken(*_: object) -> list[tuple[str, str]]:
        looks.append(1)
        if len(looks) < 3:
            raise RuntimeError("what nobody foresaw")
        raise KeyboardInterrupt  # the end of the test

    with monkeypatch.context() as patch:
        patch.setattr(queries, "notified_since", broken)
        with pytest.raises(KeyboardInterrupt):
            made._run()
    with clock.frozen(clock.now() + timedelta(minutes=1)):
        made._turn()
    assert b"invoice.paid" in got(browser)
