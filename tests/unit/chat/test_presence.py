"""Who is online is told alike by every chat process: two of them here, two applications on one database."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from chat import worker
from chat.models import Attendance, Conversation, Process
from chat.sockets.presence import BEAT_EVERY, DEAD_AFTER, GRACE
from chat.use_cases.presence import FORGOTTEN_AFTER
from common import clock, ids
from common.db import db, reading, transaction
from tests.support.services import bearer, make_app, service_fixtures

database_url, app, client = service_fixtures("chat", bot="off", lock_timeout_s=0.1)
NIMALI, AGENT = ids.new_id(), ids.new_id()


@pytest.fixture
def right(database_url: str, tmp_path: Path) -> Iterator[Flask]:
    """Another chat process on the same database; `app` is the first."""
    made = make_app("chat", database_url, tmp_path, bot="off", lock_timeout_s=0.1)
    yield made
    with made.app_context():
        db.engine.dispose()


@pytest.fixture
def opened(client: FlaskClient) -> str:
    return client.post("/api/chat/conversations", json={}, headers=bearer(NIMALI)).json["id"]


@pytest.fixture
def apart(app: Flask, right: Flask, phone: Callable, opened: str) -> tuple[Any, Any]:
    """A customer at one process and an agent at the other, who knows of the customer."""
    customer, agent = phone(NIMALI), phone(AGENT, "agent", at=right)
    customer.join(opened)
    look(app)
    agent.join(opened)
    return customer, agent


@pytest.fixture(autouse=True)
def stopped_clock() -> Iterator[None]:
    with clock.frozen(clock.now()):
        yield


def look(*processes: Flask) -> None:
    for process in processes:
        with process.app_context():
            process.extensions["chat_presence"].look()


def after(span: timedelta, *processes: Flask) -> None:
    """So much later, with these processes alive all the while."""
    for _ in range(0, round(span.total_seconds()), round(BEAT_EVERY.total_seconds())):
        clock.move(BEAT_EVERY)
        look(*processes, *processes)


def told(phone: object) -> list[tuple[str, bool]]:
    return [(one["user_id"], one["online"]) for one in phone.heard("presence")]  # type: ignore[attr-defined]


def test_who_comes_late_is_told_who_is_there_and_then_of_everybody_who_comes(
    app: Flask, right: Flask, phone: Callable, opened: str
) -> None:
    customer, colleague = phone(NIMALI), ids.new_id()
    assert customer.join(opened)["online"] == []
    assert phone(NIMALI).join(opened)["online"] == [], "oneself is not among them"
    near = phone(AGENT, "agent")
    assert near.join(opened)["online"] == [NIMALI]
    assert told(customer) == [(AGENT, True)], "at once, where it is the same process"
    look(app)
    far = phone(colleague, "agent", at=right)
    assert far.join(opened)["online"] == sorted([NIMALI, AGENT])
    look(right, app, right)
    assert (told(customer), told(near), told(far)) == ([(colleague, True)], [(colleague, True)], [])


def test_who_is_there_twice_stays_online_until_the_last_connection_has_closed(
    app: Flask, right: Flask, phone: Callable, opened: str
) -> None:
    one, other, agent = phone(NIMALI), phone(NIMALI, at=right), phone(AGENT, "agent", at=right)
    for each in (one, other, agent):
        each.join(opened)
    look(app, right)
    agent.heard()
    one.close()
    after(3 * GRACE, app, right)
    assert told(agent) == []
    other.close()
    after(3 * GRACE, app, right)
    assert told(agent) == [(NIMALI, False)]


def test_a_reload_is_no_news_also_at_another_process(
    app: Flask, right: Flask, phone: Callable, opened: str, apart: tuple[Any, Any]
) -> None:
    customer, agent = apart
    customer.close()
    look(app, right)
    clock.move(GRACE / 2)
    look(app, right)
    assert phone(AGENT, "agent", at=right).join(opened)["online"] == [NIMALI]
    phone(NIMALI, at=right).join(opened)
    after(3 * GRACE, app, right)
    assert told(agent) == []


def test_the_users_of_a_killed_process_are_told_to_have_left_and_one_that_only_slept_brings_them_back(
    app: Flask, right: Flask, phone: Callable, opened: str, apart: tuple[Any, Any]
) -> None:
    _, agent = apart
    after(DEAD_AFTER, right)
    assert told(agent) == []
    after(2 * GRACE, right)
    assert told(agent) == [(NIMALI, False)]
    assert phone(AGENT, "agent", at=right).join(opened)["online"] == []
    clock.move(FORGOTTEN_AFTER)
    look(right)
    worker.forget_dead_processes()
    with reading() as session:
        assert session.scalars(select(Attendance.user_id)).all() == [AGENT]
        assert session.scalar(select(func.count()).select_from(Process)) == 1
    look(app, right)
    assert told(agent) == [(NIMALI, True)]


def test_a_database_that_is_locked_or_was_away_sends_nobody_home(
    app: Flask, right: Flask, phone: Callable, opened: str, apart: tuple[Any, Any]
) -> None:
    customer, agent = apart
    look(right)
    clock.move(DEAD_AFTER * 2)
    with transaction() as session:
        session.get(Conversation, opened, with_for_update=True)
        session.scalars(select(Process).with_for_update()).all()
        for process in (app, right):
            with pytest.raises(OperationalError):
                look(process)
        assert phone(ids.new_id(), "agent").join(opened)["online"] == [NIMALI]
    look(right, app, right)
    after(2 * GRACE, app, right)
    assert (NIMALI, False) not in told(agent)
    assert customer.say(opened, "still here", "1")["ok"]


def test_many_arrivals_are_one_write_and_messages_none(app: Flask, phone: Callable, opened: str) -> None:
    def counted() -> tuple[int, object]:
        with reading() as session:
            process = session.scalars(select(Process)).one()
            return process.changes, process.seen_at

    phones = [phone(ids.new_id(), "agent") for _ in range(5)]
    phones[0].join(opened)
    look(app)
    before = counted()
    for one in phones:
        one.join(opened)
    look(app)
    assert counted()[0] == before[0] + 1
    clock.move(timedelta(seconds=1))
    assert phones[0].say(opened, "x", "1")["ok"]
    look(app)
    assert counted() == (before[0] + 1, before[1])


def test_processes_agree_in_the_end_on_who_came_and_went_at_the_same_time(
    app: Flask, right: Flask, phone: Callable, opened: str
) -> None:
    watchers = [phone(AGENT, "agent", at=process) for process in (app, right)]
    known = [set(watcher.join(opened)["online"]) for watcher in watchers]
    people = [ids.new_id() for _ in range(3)]

    def come_and_go(process: Flask) -> None:
        for n in range(6):
            visitors = [phone(user, "agent", at=process) for user in people[n % 3 :]]
            for visitor in visitors:
                visitor.join(opened)
            look(process)
            for visitor in visitors[1:]:
                visitor.close()
            look(process)
            visitors[0].close()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(come_and_go, (app, right)))
    phone(people[0], "agent", at=right).join(opened)
    after(3 * GRACE, app, right)
    for watcher, online in zip(watchers, known, strict=True):
        for user, is_online in told(watcher):
            (online.add if is_online else online.discard)(user)
        assert online - {AGENT} == {people[0]}
