"""The event stream on a real web server: many readers, few threads."""

import contextlib
import http.client
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import orjson
import psutil
import pytest
from flask import Flask

from common.db import db, upgrade
from notification.streams import STREAMS_EACH
from tests.support.eventually import eventually
from tests.support.notifications import a_customer, tell
from tests.support.services import bearer, make_app
from tests.support.stream import event_streams

READERS = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stream")


@pytest.fixture(scope="module")
def app(folder: Path) -> Iterator[Flask]:
    made = make_app("notification", f"sqlite:///{folder / 'n.sqlite3'}", folder)
    with made.app_context():
        upgrade()
        yield made
        db.engine.dispose()


@pytest.fixture(scope="module")
def web(app: Flask, folder: Path) -> Iterator[tuple[str, int]]:
    with event_streams(app, folder) as running:
        yield running


class Reader:
    """Reads a stream in a thread."""

    def __init__(self, url: str, user_id: str, last_event_id: str = "") -> None:
        self.events: list[dict[str, object]] = []
        self.ended = threading.Event()
        host, port = url.removeprefix("http://").split(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=30)
        headers = bearer(user_id) | ({"Last-Event-ID": last_event_id} if last_event_id else {})
        self._connection.request("GET", "/api/notifications/stream", headers=headers)
        self._socket = self._connection.sock
        self.response = self._connection.getresponse()
        self.status = self.response.status
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for line in self.response:
                if line.startswith(b"data: "):
                    self.events.append(orjson.loads(line[6:]))
        except (OSError, http.client.HTTPException):
            pass
        self.ended.set()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self.response.close()
        self._connection.close()
        self._socket.close()


Open = Callable[..., Reader]


@pytest.fixture
def follow(web: tuple[str, int]) -> Iterator[Open]:
    readers: list[Reader] = []

    def opened(user_id: str, last_event_id: str = "") -> Reader:
        readers.append(Reader(web[0], user_id, last_event_id))
        return readers[-1]

    yield opened
    for reader in readers:
        reader.close()


def test_who_comes_back_misses_nothing_and_gets_nothing_twice(
    app: Flask, web: tuple[str, int], follow: Open
) -> None:
    user_id = a_customer()
    first = follow(user_id)
    tell("invoice.paid", user_id)
    eventually(lambda: first.events, within=10)
    first.close()
    tell("invoice.issued", user_id)
    tell("payment.failed", user_id)
    again = follow(user_id, str(first.events[0]["id"]))
    eventually(lambda: len(again.events) == 2, within=10)
    tell("order.failed", user_id)
    eventually(lambda: len(again.events) == 3, within=10)
    told = [event["event_type"] for event in again.events]
    assert told == ["invoice.issued", "payment.failed", "order.failed"]


def test_streams_are_for_the_signed_in_and_not_endlessly_many(
    app: Flask, web: tuple[str, int], follow: Open
) -> None:
    url, _ = web
    user_id = a_customer()
    assert httpx.get(f"{url}/api/notifications/stream").status_code == 401
    readers = [follow(user_id) for _ in range(STREAMS_EACH + 1)]
    assert sorted(reader.status for reader in readers) == [200] * STREAMS_EACH + [429]
    next(reader for reader in readers if reader.status == 200).close()
    eventually(lambda: follow(user_id).status == 200, within=10, every=0.3)


def test_more_readers_than_threads_are_told_at_once_and_only_their_own(
    app: Flask, web: tuple[str, int], follow: Open, folder: Path
) -> None:
    url, pid = web
    users = [a_customer() for _ in range(READERS)]
    readers = [follow(user_id) for user_id in users]
    assert {reader.status for reader in readers} == {200}
    assert readers[0].response.headers["content-type"].startswith("text/event-stream")
    assert readers[0].response.headers["cache-control"] == "no-store"
    for user_id in users:
        tell("invoice.paid", user_id)
    eventually(lambda: all(reader.events for reader in readers), within=10)
    assert [len(reader.events) for reader in readers] == [1] * READERS
    assert {str(reader.events[0]["event_type"]) for reader in readers} == {"invoice.paid"}
    inbox = httpx.get(f"{url}/api/notifications", headers=bearer(users[0])).json()["items"]
    assert readers[0].events == inbox[:1], "the two threads serve other requests meanwhile"
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: all(reader.ended.is_set() for reader in readers), within=10)
    eventually(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, within=10)
    log = (folder / "web.log").read_text()
    assert "Worker exiting" in log, (
        "readers do not hold up the end: the process was not killed for its lateness"
    )
