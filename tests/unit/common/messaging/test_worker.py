"""A worker without a broker."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from common.messaging import worker
from tests.support.messaging.house import ON_SQLITE, House


@ON_SQLITE
def test_a_database_that_hangs_does_not_keep_a_worker_from_stopping(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    beating, answered, ended = threading.Event(), threading.Event(), threading.Event()

    def hang(_name: str, _connected: bool) -> None:
        beating.set()
        answered.wait(60)
        ended.set()

    @contextmanager
    def signals() -> Iterator[Callable[[float], bool]]:
        yield lambda _seconds: beating.wait(60)

    monkeypatch.setattr(worker, "_beat", hang)
    monkeypatch.setattr(worker, "HEARTBEAT_EVERY_S", 0.01)
    monkeypatch.setattr(worker, "STOP_WITHIN_S", 0.5)
    monkeypatch.setattr(worker, "_signals", signals)
    monkeypatch.setattr(worker, "_wait_until_migrated", lambda _app, _signalled: True)
    before = set(threading.enumerate())
    try:
        worker.run_worker(house.app, {})
        assert not ended.is_set()
    finally:
        answered.set()
        for thread in set(threading.enumerate()) - before:
            thread.join()
