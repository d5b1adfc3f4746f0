"""Commands claimed and settled several at once by several workers: what holds one of them up holds up no other."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event

from common import clock
from common.db import db, reading, transaction
from provisioning import events, queries
from provisioning.gateway import Answer, Verdict
from provisioning.jobs import CommandRunner, claim, make_call, settle
from provisioning.models import Element, Order, Service
from tests.support.eventually import eventually
from tests.support.provisioning import LEASE, QUARANTINE, RULES, Network, Shopper, all_due, carry_out
from tests.support.services import bearer, emitted

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_workers_at_the_same_commands_activate_each_once(
    app: Flask, shopper: Shopper, network: Network
) -> None:
    for _ in range(3):
        shopper.buy("data-5gb")
    due = all_due()

    def work(_number: int) -> None:
        with app.app_context():
            carry_out(due[0], network, RULES, QUARANTINE, *due[1:])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert sorted(call.command_id for call in network.calls) == sorted(due)
    assert len(emitted("service.activated")) == 3


def test_a_batch_of_commands_takes_no_more_statements_than_one(shopper: Shopper, network: Network) -> None:
    statements: list[str] = []
    event.listen(db.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    counted = []
    for size in (1, 5):
        for _ in range(size):
            shopper.buy("sms-100")
        first, *others = all_due()
        network.answers = [Answer(Verdict.DONE)] * size
        before = len(statements)
        carry_out(first, network, RULES, QUARANTINE, *others)
        counted.append(len(statements) - before)
    assert len(emitted("service.activated")) == 6
    assert counted[1] <= counted[0]


def test_what_another_transaction_is_at_work_on_is_left_and_the_rest_is_told(
    shopper: Shopper, network: Network
) -> None:
    if db.engine.dialect.name == "sqlite":
        pytest.skip("writers of SQLite come one after the other")
    busy, other = shopper.buy("sms-100"), shopper.buy("sms-100")
    with transaction() as session:
        session.get_one(Order, busy["id"], with_for_update=True)
        calls = claim(all_due(), Element.CHARGING, RULES)
    settle([make_call(call, network) for call in calls], Element.CHARGING, RULES, QUARANTINE)
    assert [shopper.order_now(order)["state"] for order in (busy, other)] == ["acknowledged", "completed"]
    network.carry_out_all()
    assert shopper.order_now(busy)["state"] == "completed"


def test_an_answer_that_cannot_be_settled_leaves_the_others_be(
    shopper: Shopper, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = events.service_activated

    def service_activated(service: Service, order: Order) -> Any:
        if order.id == orders[1]["id"]:
            raise RuntimeError("a defect of ours")
        return real(service, order)

    with clock.frozen(NOON):
        shopper.headers = bearer(shopper.user_id)
        orders = [shopper.buy("sms-100") for _ in range(3)]
        first, *others = all_due()
        with monkeypatch.context() as patch:
            patch.setattr(events, "service_activated", service_activated)
            carry_out(first, network, RULES, QUARANTINE, *others)
        assert [shopper.order_now(order)["state"] for order in orders] == [
            "completed", "in_progress", "completed",
        ]  # fmt: skip
        clock.move(LEASE)
        network.carry_out_all()
        assert shopper.order_now(orders[1])["state"] == "completed"
    assert len(emitted("service.activated")) == 3


def test_the_runner_gives_a_slow_element_one_thread_only(
    app: Flask, shopper: Shopper, network: Network
) -> None:
    slow, release = shopper.buy("data-5gb"), threading.Event()
    network.before.append(lambda: release.wait(10))
    runner = CommandRunner(app, network, Element.CHARGING, threads=2, rules=RULES, quarantine=QUARANTINE)

    def completed(*orders: dict) -> bool:
        runner.run()
        return all(shopper.order_now(order)["state"] == "completed" for order in orders)

    try:
        runner.run()
        eventually(lambda: network.calls)
        others = [shopper.buy("sms-100") for _ in range(3)]
        eventually(lambda: completed(*others))
        assert shopper.order_now(slow)["state"] == "in_progress"
        release.set()
        eventually(lambda: completed(slow))
    finally:
        release.set()
        runner.close()
    assert len(network.calls) == 4


def test_due_commands_are_found_by_their_index(app: Flask) -> None:
    if db.engine.dialect.name != "sqlite":
        pytest.skip("the planner of Postgres scans tables as small as these")
    statements: list[tuple] = []
    event.listen(db.engine, "before_cursor_execute", lambda *args: statements.append(args[2:4]))
    with reading() as session:
        queries.due_commands(session, Element.CHARGING, RULES, 5)
        sql, values = next(found for found in statements if "FROM commands" in found[0])
        plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values).all()
    assert any("ix_commands_due" in step.detail for step in plan), plan
