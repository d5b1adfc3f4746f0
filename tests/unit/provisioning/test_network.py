"""Activation and all else that network elements are told: once, in order, whatever fails or dies on the way."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from common import clock, ids
from common.db import reading
from provisioning.gateway import Answer, Faults, Verdict
from provisioning.handlers import HANDLERS
from provisioning.jobs import end_validities
from provisioning.models import CommandAttempt, Element, SimulatedAnswer
from tests.support.eventually import eventually
from tests.support.provisioning import LEASE, Network, Shopper
from tests.support.services import an_event, bearer, deliver, emitted

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
AWAY = Answer(Verdict.FAILED, "element_unavailable")


class Killed(BaseException):
    """What a process that is killed leaves undone."""


def die() -> None:
    raise Killed


def test_a_paid_data_pack_is_active_with_its_allowance_and_validity(
    shopper: Shopper, network: Network
) -> None:
    with clock.frozen(NOON):
        shopper.headers = bearer(shopper.user_id)
        order = shopper.buy("data-50gb")
        network.carry_out_all()
        now = shopper.order_now(order)
        (service,) = shopper.services()
    assert [line["state"] for line in now["history"]] == [
        "pending_payment", "acknowledged", "in_progress", "completed",
    ]  # fmt: skip
    assert all(line["at"] and line["reason"] for line in now["history"])
    assert (service["state"], service["order_id"]) == ("active", order["id"])
    assert service["allowances"] == [{"kind": "data_mb", "granted": 51200, "used": 0}]
    assert (service["activated_at"], service["expires_at"]) == (
        "2026-11-21T12:00:00Z",
        "2026-12-21T12:00:00Z",
    )
    (told,) = emitted("service.activated")
    assert told.data["order_number"] == order["number"]
    assert told.data["allowances"] == service["allowances"]


def test_the_element_is_told_whom_and_what(shopper: Shopper, network: Network) -> None:
    profile = {"user_id": shopper.user_id, "phone": "+94771234567"}
    deliver(HANDLERS, an_event("user.created", shopper.user_id, profile))
    shopper.buy("ring-back-tone", ring_tone="ocean-waves")
    network.carry_out_all()
    (call,) = network.calls
    assert (call.msisdn, call.subscriber_id, call.element) == ("+94771234567", shopper.user_id, "crbt")
    assert call.characteristics == {"ring_tone": "ocean-waves"}


def test_a_refusal_for_good_fails_the_order_and_tells_payment(shopper: Shopper, network: Network) -> None:
    order = shopper.buy("ring-back-tone", ring_tone="withdrawn")
    network.carry_out_all()
    now = shopper.order_now(order)
    assert (now["state"], now["history"][-1]["reason"]) == ("failed", "refused_by_network")
    (told,) = emitted("order.failed")
    assert (told.data["order_id"], told.data["total"]) == (order["id"], order["total"])
    assert emitted("service.activated") == []
    assert shopper.services("active") == []
    assert shopper.order("ring-back-tone", ring_tone="baila-beat").status_code == 201


def test_a_failing_element_is_tried_again_with_growing_pauses(shopper: Shopper, network: Network) -> None:
    with clock.frozen(NOON):
        shopper.headers = bearer(shopper.user_id)
        order = shopper.buy("data-5gb")
        network.answers = [AWAY] * 4
        waited = timedelta()
        while len(network.calls) < 5:
            network.carry_out_all()
            assert shopper.order_now(order)["state"] == (
                "completed" if len(network.calls) == 5 else "in_progress"
            )
            clock.move(timedelta(milliseconds=100))
            waited += timedelta(milliseconds=100)
    assert timedelta(seconds=5) < waited < timedelta(seconds=10)
    with reading() as session:
        attempts = session.scalars(select(CommandAttempt).order_by(CommandAttempt.number)).all()
    assert [attempt.outcome for attempt in attempts] == ["element_unavailable"] * 4 + ["done"]
    assert all(attempt.ended_at for attempt in attempts)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_worker_killed_around_the_call_activates_once_after_the_lease(
    shopper: Shopper, network: Network, moment: str
) -> None:
    with clock.frozen(NOON):
        shopper.headers = bearer(shopper.user_id)
        order = shopper.buy("data-5gb")
        getattr(network, moment).append(die)
        with pytest.raises(Killed):
            network.carry_out_all()
        assert network.carry_out_all() == 0
        assert shopper.order_now(order)["state"] == "in_progress"
        clock.move(LEASE)
        network.carry_out_all()
        assert shopper.order_now(order)["state"] == "completed"
    assert len({call.command_id for call in network.calls}) == len(emitted("service.activated")) == 1
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(SimulatedAnswer)) == 1


def test_an_order_cancelled_while_the_worker_takes_it_up_is_either_off_or_on(
    app: Flask, shopper: Shopper, network: Network
) -> None:
    def cancel(order: dict) -> int:
        path = f"/api/provisioning/orders/{order['id']}/cancel"
        return app.test_client().post(path, headers=shopper.headers).status_code

    def work() -> None:
        with app.app_context():
            network.carry_out_all()

    for _ in range(8):
        order, told_before = shopper.buy("sms-100"), len(network.calls)
        with ThreadPoolExecutor(2) as pool:
            cancelled, worked = pool.submit(cancel, order), pool.submit(work)
            worked.result()
        told = len(network.calls) - told_before
        state = shopper.order_now(order)["state"]
        assert (cancelled.result(), told, state) in ((200, 0, "cancelled"), (409, 1, "completed"))
    states = {service["order_id"]: service["state"] for service in shopper.services()}
    assert set(states.values()) <= {"active", "terminated"}


def test_a_call_that_outlived_its_lease_settles_nothing_twice(shopper: Shopper, network: Network) -> None:
    with clock.frozen(NOON):
        shopper.headers = bearer(shopper.user_id)
        order = shopper.buy("data-5gb")

        def another_worker_takes_over() -> None:
            clock.move(LEASE)
            network.carry_out_all()

        network.after.append(another_worker_takes_over)
        network.answers = [AWAY]
        network.carry_out_all()
        assert shopper.order_now(order)["state"] == "completed"
        clock.move(timedelta(hours=1))
        assert network.carry_out_all() == 0
    assert len(emitted("service.activated")) == 1


def test_a_driver_that_raises_is_tried_again(shopper: Shopper, network: Network) -> None:
    order = shopper.buy("data-5gb")

    def fail() -> None:
        raise RuntimeError("half an answer")

    network.before.append(fail)
    network.carry_out_all()
    assert shopper.order_now(order)["state"] == "in_progress"
    eventually(lambda: network.carry_out_all() and shopper.order_now(order)["state"] == "completed")


def test_simulated_outages_are_repeatable_and_each_element_has_its_own() -> None:
    minutes = [NOON + timedelta(minutes=minute) for minute in range(60)]

    def outages(seed: int) -> dict[Element, list[datetime]]:
        faults = Faults(outage_s=600, outage_every_s=3600, seed=seed)
        return {kind: [at for at in minutes if faults.away(kind, at)] for kind in Element}

    assert outages(7) == outages(7) != outages(8)
    assert {len(away) for away in outages(7).values()} == {10}
    assert outages(7)[Element.CHARGING] != outages(7)[Element.SUBSCRIBER_REGISTER]
    assert not any(Faults().away(Element.CHARGING, at) for at in minutes)


def test_an_operator_can_have_a_stuck_order_tried_at_once(
    shopper: Shopper, network: Network, client: FlaskClient
) -> None:
    path, agent = "/api/provisioning/admin/orders/{}/retry", bearer(None, "agent")
    with clock.frozen(NOON):
        shopper.headers, agent = bearer(shopper.user_id), bearer(None, "agent")
        order = shopper.buy("data-5gb")
        network.answers = [AWAY]
        network.carry_out_all()
        assert client.post(path.format(order["id"]), headers=shopper.headers).status_code == 403
        assert client.post(path.format(ids.new_id()), headers=agent).status_code == 404
        assert client.post(path.format(order["id"]), headers=agent).status_code == 202
        assert network.carry_out_all() == 1
        assert shopper.order_now(order)["state"] == "completed"
        again = client.post(path.format(order["id"]), headers=agent)
        assert (again.status_code, again.json["code"]) == (409, "order_not_retryable")


def test_a_ring_tone_is_changed_on_the_live_service(shopper: Shopper, network: Network) -> None:
    service = _live(shopper, network, "ring-back-tone", ring_tone="baila-beat")
    changed = _patch(shopper, service, ring_tone="ocean-waves")
    assert (changed.status_code, changed.json["characteristics"]) == (200, {"ring_tone": "ocean-waves"})
    _patch(shopper, service, ring_tone="ocean-waves")
    network.carry_out_all()
    assert [call.action for call in network.calls] == ["activate", "change"]
    assert network.calls[-1].characteristics == {"ring_tone": "ocean-waves"}


def test_a_refused_ring_tone_goes_back_to_the_one_before(shopper: Shopper, network: Network) -> None:
    service = _live(shopper, network, "ring-back-tone", ring_tone="baila-beat")
    _patch(shopper, service, ring_tone="withdrawn")
    network.carry_out_all()
    now = shopper.get(f"/services/{service['id']}").json
    assert (now["state"], now["characteristics"]) == ("active", {"ring_tone": "baila-beat"})


def test_two_ring_tones_refused_in_a_row_leave_the_one_that_the_element_has(
    shopper: Shopper, network: Network
) -> None:
    service = _live(shopper, network, "ring-back-tone", ring_tone="baila-beat")
    for tone in ("withdrawn", "ocean-waves"):
        _patch(shopper, service, ring_tone=tone)
    network.answers = [Answer(Verdict.REFUSED, "subscriber_busy")] * 2
    network.carry_out_all()
    now = shopper.get(f"/services/{service['id']}").json
    assert now["characteristics"] == {"ring_tone": "baila-beat"}


def test_what_cannot_be_changed_is_refused(shopper: Shopper, network: Network, client: FlaskClient) -> None:
    service = _live(shopper, network, "ring-back-tone", ring_tone="baila-beat")
    assert _patch(shopper, service, ring_tone="nope").status_code == 422
    assert _patch(shopper, service, colour="red").status_code == 422
    assert _patch(Shopper(client), service, ring_tone="ocean-waves").status_code == 404
    assert len(network.calls) == 1


def test_a_service_is_switched_off_once_the_network_has_confirmed(shopper: Shopper, network: Network) -> None:
    service = _live(shopper, network, "call-waiting")
    network.answers = [AWAY]
    for _ in range(2):
        asked = _deactivate(shopper, service)
        assert (asked.status_code, asked.json["state"]) == (202, "active")
        assert asked.json["deactivation_requested_at"] is not None
    network.carry_out_all()
    assert emitted("service.deactivated") == []
    assert _patch(shopper, service).status_code == 409
    eventually(lambda: network.carry_out_all() > 0)
    assert [s["state"] for s in shopper.services()] == ["terminated"]
    (told,) = emitted("service.deactivated")
    assert (told.data["service_id"], told.data["reason"]) == (service["id"], "deactivated_by_customer")
    assert _deactivate(shopper, service).status_code == 409
    assert shopper.order("call-waiting").status_code == 201


def test_another_customers_service_is_unknown(
    shopper: Shopper, network: Network, client: FlaskClient
) -> None:
    service, stranger = _live(shopper, network, "call-waiting"), Shopper(client)
    assert stranger.get(f"/services/{service['id']}").status_code == 404
    assert _deactivate(stranger, service).status_code == 404
    assert stranger.services() == []


def test_a_service_ends_with_its_validity_and_the_network_is_told(shopper: Shopper, network: Network) -> None:
    with clock.frozen(NOON):
        shopper.headers = bearer(shopper.user_id)
        _live(shopper, network, "data-1gb")
        clock.move(timedelta(days=1) - timedelta(seconds=1))
        end_validities()
        assert network.carry_out_all() == 0
        clock.move(timedelta(seconds=1))
        for _ in range(2):
            end_validities()
            network.carry_out_all()
        shopper.headers = bearer(shopper.user_id)
        assert [s["state"] for s in shopper.services()] == ["terminated"]
    assert [told.data["reason"] for told in emitted("service.deactivated")] == ["expired"]


def test_a_barred_account_has_its_services_suspended_and_restored(shopper: Shopper, network: Network) -> None:
    _live(shopper, network, "data-5gb")
    being_activated, after = shopper.buy("sms-100"), shopper.order("voice-60").json
    _account(shopper, "account.barred", NOON)
    shopper.pay(after)
    network.carry_out_all()
    assert {s["state"] for s in shopper.services()} == {"suspended"}
    assert {shopper.order_now(o)["state"] for o in (being_activated, after)} == {"completed"}
    _account(shopper, "account.barred", NOON)
    _account(shopper, "account.restored", NOON + timedelta(minutes=1))
    network.carry_out_all()
    assert {s["state"] for s in shopper.services()} == {"active"}


def test_barred_that_comes_after_a_later_restored_changes_nothing(shopper: Shopper, network: Network) -> None:
    _live(shopper, network, "data-5gb")
    _account(shopper, "account.restored", NOON + timedelta(minutes=1))
    _account(shopper, "account.barred", NOON)
    assert network.carry_out_all() == 0
    assert [s["state"] for s in shopper.services()] == ["active"]


def test_bar_and_restore_of_a_service_whose_activation_is_refused_end_quietly(
    shopper: Shopper, network: Network
) -> None:
    shopper.buy("ring-back-tone", ring_tone="withdrawn")
    _account(shopper, "account.barred", NOON)
    network.carry_out_all()
    assert [call.action for call in network.calls] == ["activate"]
    assert [s["state"] for s in shopper.services()] == ["terminated"]


def _live(shopper: Shopper, network: Network, code: str, **characteristics: str) -> dict:
    shopper.buy(code, **characteristics)
    network.carry_out_all()
    return shopper.services("active")[0]


def _patch(shopper: Shopper, service: dict, **characteristics: str):
    body = {"characteristics": characteristics}
    return shopper.client.patch(
        f"/api/provisioning/services/{service['id']}", json=body, headers=shopper.headers
    )


def _deactivate(shopper: Shopper, service: dict):
    path = f"/api/provisioning/services/{service['id']}/deactivate"
    return shopper.client.post(path, headers=shopper.headers)


def _account(shopper: Shopper, kind: str, at: datetime) -> None:
    data = {
        "account_id": ids.new_id(),
        "account_number": "STL-0000000042",
        "user_id": shopper.user_id,
        "level": "soft",
        "reason": "overdue",
    }
    deliver(HANDLERS, an_event(kind, shopper.user_id, data, time=at))
