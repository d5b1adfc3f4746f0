"""A gateway that is down: another one steps in, and the workers leave the first alone for a while."""

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from common import clock, ids
from common.db import db, reading
from payment.gateway import GatewayTrouble
from payment.gateway.breaker import FAILURES, Breaker
from payment.gateway.routing import Gateways
from payment.gateway.simulated import SimulatedCharge, SimulatedGateway
from payment.jobs import advance_payments
from payment.models import Payment
from tests.support.payments import gateway_of, new_order, pay
from tests.support.services import emitted, make_app

ME = ids.new_id()


@pytest.fixture
def two(app: Flask) -> tuple[SimulatedGateway, SimulatedGateway]:
    first, second = SimulatedGateway(name="first"), SimulatedGateway(name="second")
    app.extensions["payment_gateways"] = Gateways([first, second], Breaker())
    return first, second


def used() -> list[str | None]:
    with reading() as session:
        return list(session.scalars(select(Payment.gateway).order_by(Payment.id)))


def test_a_charge_that_did_not_reach_its_gateway_is_made_by_the_other(
    client: FlaskClient, two: tuple[SimulatedGateway, SimulatedGateway]
) -> None:
    two[0].down = True
    answer = pay(client, ME, new_order(ME))
    assert (answer.status_code, answer.json["state"]) == (201, "completed")
    assert used() == ["second"]
    with reading() as session:
        assert len(session.scalars(select(SimulatedCharge.key)).all()) == 1
    assert [event.type for event in emitted()] == ["payment.completed"]


def test_an_unknown_outcome_never_goes_to_another_gateway(
    client: FlaskClient, two: tuple[SimulatedGateway, SimulatedGateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(**_: object) -> None:
        raise GatewayTrouble("timeout")

    monkeypatch.setattr(two[0], "charge", lose)
    assert pay(client, ME, new_order(ME)).json["state"] == "processing"
    assert used() == ["first"]


def test_after_failures_in_a_row_all_workers_leave_a_gateway_alone_until_one_try_succeeds(
    client: FlaskClient, two: tuple[SimulatedGateway, SimulatedGateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = two
    called = []
    travel = first._travel
    monkeypatch.setattr(first, "_travel", lambda: called.append(1) or travel())
    first.down = True
    with clock.frozen(clock.now()):
        for _ in range(FAILURES + 2):
            assert pay(client, ME, new_order(ME)).json["state"] == "completed"
        assert len(called) == FAILURES
        assert not Breaker().admits("first")  # another worker
        first.down = False
        clock.move(timedelta(seconds=31))
        others = [Breaker(), Breaker()]
        assert sorted(breaker.admits("first") for breaker in others) == [False, True]
        clock.move(timedelta(seconds=31))
        assert pay(client, ME, new_order(ME)).json["state"] == "completed"
        assert pay(client, ME, new_order(ME)).json["state"] == "completed"
    assert used()[-1] == "first"


def test_the_configured_share_of_calls_does_not_reach_the_simulated_gateway(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app("payment", database_url, tmp_path, simulated_failure_rate=0.3)
    chance = iter((0.29, 0.3, 0.31))
    with app.app_context(), clock.frozen(clock.now()):
        dice = SimpleNamespace(random=lambda: next(chance))
        monkeypatch.setattr("payment.gateway.simulated.gateway.random", dice)
        states = [pay(app.test_client(), ME, new_order(ME)).json["state"] for _ in range(3)]
        monkeypatch.undo()
        with reading() as session:
            reached = session.scalars(select(SimulatedCharge.key)).all()
        assert (states, len(reached)) == (["processing", "completed", "completed"], 2)
        gateway_of(app)._failure_rate = 0.0
        clock.move(timedelta(minutes=1))
        advance_payments()
        assert [event.data["reason"] for event in emitted("payment.failed")] == ["abandoned"]
        db.engine.dispose()


def test_with_every_gateway_down_nothing_is_begun_and_the_customer_may_try_again(
    client: FlaskClient, two: tuple[SimulatedGateway, SimulatedGateway]
) -> None:
    for gateway in two:
        gateway.down = True
    with clock.frozen(clock.now()):
        for _ in range(FAILURES):
            pay(client, ME, new_order(ME))
        answer = pay(client, ME, new_order(ME))
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
