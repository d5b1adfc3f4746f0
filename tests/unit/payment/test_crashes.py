"""Death at any step, lost answers and crowds: one charge, one event."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from common import clock, ids
from common.db import reading
from payment.gateway import GatewayTrouble
from payment.gateway.simulated import SimulatedCharge, SimulatedToken
from payment.jobs import advance_payments, forget_methods
from payment.models import Payment
from payment.use_cases import methods, payments
from tests.support.payments import LOSES_ANSWER, card, gateway_of, new_order, order_event, pay
from tests.support.services import bearer, emitted

ME = ids.new_id()


class Killed(BaseException):
    """Ends a request as kill -9 would: nothing catches it, nothing is tidied up."""


def charges() -> list[str]:
    with reading() as session:
        return list(session.scalars(select(SimulatedCharge.key)))


def die_before(target: Any, name: str, patch: pytest.MonkeyPatch) -> None:
    def die(*_: object, **__: object) -> None:
        raise Killed

    patch.setattr(target, name, die)


def die_after(target: Any, name: str, patch: pytest.MonkeyPatch) -> None:
    real = getattr(target, name)

    def act_and_die(*given: object, **named: object) -> None:
        real(*given, **named)
        raise Killed

    patch.setattr(target, name, act_and_die)


SEAMS = {
    "before the intent": lambda app, patch: die_before(payments, "begin_payment", patch),
    "in the intent's transaction": lambda app, patch: die_after(payments, "begin_payment", patch),
    "after the intent": lambda app, patch: die_before(gateway_of(app), "charge", patch),
    "after the charge": lambda app, patch: die_after(gateway_of(app), "charge", patch),
    "before settling": lambda app, patch: die_before(payments, "settle_charge", patch),
    "in settling's transaction": lambda app, patch: die_after(payments, "settle_charge", patch),
}


@pytest.mark.parametrize("seam", SEAMS)
@pytest.mark.parametrize("janitor_first", [False, True])
def test_a_request_killed_at_any_step_charges_once_and_tells_once(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch, seam: str, janitor_first: bool
) -> None:
    """Real processes are killed at the same steps in tests/e2e/payment."""
    order_id, key = new_order(ME), ids.new_id()
    with clock.frozen(clock.now()):
        with monkeypatch.context() as patch:
            SEAMS[seam](app, patch)
            with pytest.raises(Killed):
                pay(client, ME, order_id, key=key)
        if seam not in ("before the intent", "in the intent's transaction"):
            answer = pay(client, ME, order_id, key=key)
            assert (answer.status_code, answer.json["code"]) == (409, "request_in_progress")
        clock.move(timedelta(seconds=40))
        if janitor_first:
            advance_payments()
        answer = pay(client, ME, order_id, key=key)
        again = pay(client, ME, order_id, key=key)
        assert again.data == answer.data
        assert again.headers["Idempotent-Replayed"] == "true"
        clock.move(timedelta(hours=2))
        advance_payments()
    with reading() as session:
        (payment,) = session.scalars(select(Payment)).all()
        verdicts = session.scalars(select(SimulatedCharge.verdict)).all()
    ended = [event.type for event in emitted()]
    if janitor_first and seam == "after the intent":
        assert (payment.state, payment.failure_reason, answer.status_code) == ("failed", "abandoned", 402)
        assert (ended, verdicts) == (["payment.failed"], ["cancelled"])
    else:
        assert (payment.state, answer.json["state"]) == ("completed", "completed")
        assert (ended, charges()) == (["payment.completed"], [payment.id])


LEAVING = {
    "before the method is saved": (
        lambda app, patch: die_before(methods, "save_method", patch),
        lambda client: save(client),
    ),
    "before the intent to pay and save it": (
        lambda app, patch: die_before(payments, "begin_payment", patch),
        lambda client: pay(client, ME, new_order(ME), save_method=True),
    ),
    "before the token to pay later came back": (
        lambda app, patch: die_after(gateway_of(app), "tokenise", patch),
        lambda client: pay(client, ME, ids.new_id()),
    ),
}


def save(client: FlaskClient) -> None:
    client.post("/api/payment/methods", json=card()["card"], headers=bearer(ME))


def cards() -> int:
    with reading() as session:
        return session.scalar(select(func.count(SimulatedToken.token))) or 0


@pytest.mark.parametrize("seam", LEAVING)
def test_a_card_left_by_a_request_that_died_is_forgotten_by_its_gateway(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch, seam: str
) -> None:
    die, act = LEAVING[seam]
    with clock.frozen(clock.now()):
        with monkeypatch.context() as patch:
            die(app, patch)
            with pytest.raises(Killed):
                act(client)
        forget_methods()
        assert cards() == 1
        act(client)
        clock.move(timedelta(minutes=11))
        forget_methods()
        assert cards() == 1


def test_what_cannot_go_on_does_not_keep_others_waiting(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = [ids.new_id() for _ in range(3)]
    early = [pay(client, ME, order_id).json["id"] for order_id in orders]
    for order_id in orders:
        order_event("order.created", order_id, ME)
    admit = payments.admit_waiting

    def fail_for_the_first(session: Any, payment: Payment, **named: Any) -> bool:
        if payment.id == early[0]:
            raise KeyError("a bug")
        return admit(session, payment, **named)

    monkeypatch.setattr(payments, "admit_waiting", fail_for_the_first)
    assert not advance_payments()
    assert sorted(charges()) == sorted(early[1:])
    monkeypatch.undo()
    advance_payments()
    assert sorted(charges()) == sorted(early)


def test_an_unknown_outcome_is_settled_by_asking_not_by_charging_again(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    with clock.frozen(clock.now()):
        answer = pay(client, ME, new_order(ME), method=card(LOSES_ANSWER))
        assert (answer.status_code, answer.json["state"]) == (201, "processing")
        assert emitted() == []
        gateway = gateway_of(app)
        look_up = gateway.look_up
        die_before(gateway, "charge", monkeypatch)
        monkeypatch.setattr(
            gateway, "look_up", lambda **wanted: asked.append(wanted["key"]) or look_up(**wanted)
        )
        clock.move(timedelta(seconds=4))
        advance_payments()
        assert asked == []
        clock.move(timedelta(seconds=2))
        advance_payments()
    assert asked == [answer.json["id"]]
    read = client.get(f"/api/payment/payments/{answer.json['id']}", headers=bearer(ME)).json
    assert read["state"] == "completed"
    assert charges() == [answer.json["id"]]
    assert [event.type for event in emitted()] == ["payment.completed"]


def test_a_gateway_that_stays_silent_is_asked_ever_less_often(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    with clock.frozen(clock.now()):
        started = clock.now()
        pay(client, ME, new_order(ME), method=card(LOSES_ANSWER))

        def silent(**_: object) -> None:
            asked.append((clock.now() - started).total_seconds())
            raise GatewayTrouble("silent")

        monkeypatch.setattr(gateway_of(app), "look_up", silent)
        for _ in range(14):
            with reading() as session:
                due = session.scalars(select(Payment.check_at)).one()
            clock.move(due - clock.now() - timedelta(seconds=1))
            advance_payments()
            clock.move(timedelta(seconds=1))
            advance_payments()
    pauses = [round(b - a) for a, b in itertools.pairwise(asked)]
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600]
    assert emitted() == []


def crowd(app: Flask, size: int, *calls: Any) -> list[SimpleNamespace]:
    def one(number: int) -> SimpleNamespace:
        answer = calls[number % len(calls)](app.test_client())
        return SimpleNamespace(status=answer.status_code, json=answer.json, data=answer.data)

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size)))


def test_twenty_parallel_requests_with_one_key_charge_once(app: Flask) -> None:
    order_id, key = new_order(ME), ids.new_id()
    answers = crowd(app, 20, lambda client: pay(client, ME, order_id, key=key))
    made = {answer.data for answer in answers if answer.status == 201}
    assert len(made) == 1
    assert {answer.json["code"] for answer in answers if answer.status != 201} <= {"request_in_progress"}
    assert len(charges()) == 1
    assert [event.type for event in emitted()] == ["payment.completed"]


def test_of_two_cards_for_one_order_at_once_one_is_charged(app: Flask) -> None:
    order_id = new_order(ME)
    answers = crowd(
        app,
        8,
        lambda client: pay(client, ME, order_id),
        lambda client: pay(client, ME, order_id, method=card("5555555555554444")),
    )
    assert sorted(answer.status for answer in answers) == [201] + [409] * 7
    assert {answer.json["code"] for answer in answers if answer.status == 409} == {"already_paid"}
    assert len(charges()) == 1
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Payment)) == 1
    assert [event.type for event in emitted()] == ["payment.completed"]
