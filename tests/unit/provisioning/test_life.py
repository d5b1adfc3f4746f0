"""The life of a service after its activation: warned of its end, renewed, and ended with the account; who may order."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from common import clock
from common.db import transaction
from provisioning.gateway import Answer, Verdict
from provisioning.handlers import HANDLERS
from provisioning.jobs import end_validities, expire_unpaid_orders, give_up_orders, warn_of_ends
from provisioning.models import Offering
from tests.support.provisioning import LEASE, QUARANTINE, Network, Shopper
from tests.support.services import an_event, bearer, deliver, emitted

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def later(shopper: Shopper, by: timedelta) -> None:
    """Time passes, and the worker's jobs have run."""
    clock.move(by)
    shopper.headers = bearer(shopper.user_id)
    for _ in range(2):
        warn_of_ends()
        expire_unpaid_orders(DAY)
        end_validities()


def bought(shopper: Shopper, network: Network, code: str, **characteristics: str) -> dict[str, Any]:
    shopper.headers = bearer(shopper.user_id)
    order = shopper.buy(code, **characteristics)
    network.carry_out_all()
    return next(s for s in shopper.services("active") if s["order_id"] == order["id"])


def now(shopper: Shopper, service: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = shopper.get(f"/services/{service['id']}").json
    return found


def patch(shopper: Shopper, service: dict[str, Any], **body: Any) -> Any:
    path = f"/api/provisioning/services/{service['id']}"
    return shopper.client.patch(path, json=body, headers=shopper.headers)


def test_a_customer_is_warned_once_three_days_and_once_a_day_before_the_end(
    shopper: Shopper, network: Network
) -> None:
    with clock.frozen(NOON):
        service = bought(shopper, network, "data-5gb")
        later(shopper, 4 * DAY - timedelta(seconds=1))
        assert emitted("service.expiring") == []
        later(shopper, timedelta(seconds=1))
        later(shopper, DAY)
        later(shopper, DAY)
    told = [event.data for event in emitted("service.expiring")]
    assert [data["days_left"] for data in told] == [3, 1]
    assert told[0]["service_id"] == service["id"]
    assert told[0]["expires_at"] == "2026-11-28T12:00:00.000000Z"
    assert told[0]["renewal_order_id"] is None


def test_a_pack_for_a_day_ends_without_a_warning(shopper: Shopper, network: Network) -> None:
    with clock.frozen(NOON):
        bought(shopper, network, "data-1gb")
        later(shopper, timedelta(hours=1))
        later(shopper, timedelta(hours=22))
    assert emitted("service.expiring") == []


def test_a_recurring_service_is_prolonged_by_the_order_that_its_customer_pays(
    shopper: Shopper, network: Network
) -> None:
    with clock.frozen(NOON):
        service = bought(shopper, network, "data-50gb")
        assert service["renews"] is True
        later(shopper, 27 * DAY)
        renewal = shopper.order_now({"id": now(shopper, service)["renewal_order_id"]})
        assert (renewal["state"], renewal["renews_service_id"]) == ("pending_payment", service["id"])
        (told,) = emitted("service.expiring")
        assert told.data["renewal_order_number"] == renewal["number"]
        shopper.pay(renewal)
        network.carry_out_all()
        prolonged = now(shopper, service)
        later(shopper, 4 * DAY)
        assert now(shopper, service)["state"] == "active"
        assert len(shopper.services()) == 1
        assert shopper.order_now(renewal)["state"] == "completed"
    assert [call.action for call in network.calls] == ["activate", "renew"]
    assert (prolonged["expires_at"], prolonged["renewal_order_id"]) == ("2027-01-20T12:00:00Z", None)
    assert [event.data["renewed"] for event in emitted("service.activated")] == [False, True]


def test_a_free_recurring_service_is_prolonged_without_a_word(shopper: Shopper, network: Network) -> None:
    with transaction() as session:
        session.query(Offering).filter_by(code="data-50gb").one().price_minor = 0
    with clock.frozen(NOON):
        service = bought(shopper, network, "data-50gb")
        later(shopper, 27 * DAY)
        network.carry_out_all()
        assert now(shopper, service)["expires_at"] == "2027-01-20T12:00:00Z"
    assert emitted("service.expiring") == []


def test_a_renewal_that_nobody_pays_ends_with_its_service(shopper: Shopper, network: Network) -> None:
    with clock.frozen(NOON):
        service = bought(shopper, network, "data-50gb")
        later(shopper, 27 * DAY)
        renewal = {"id": now(shopper, service)["renewal_order_id"]}
        later(shopper, 2 * DAY)
        assert shopper.order_now(renewal)["state"] == "pending_payment"
        later(shopper, DAY)
        network.carry_out_all()
        assert now(shopper, service)["state"] == "terminated"
        assert shopper.order_now(renewal)["state"] == "expired"


def test_a_renewal_paid_at_the_last_moment_keeps_the_service_on(shopper: Shopper, network: Network) -> None:
    with clock.frozen(NOON):
        service = bought(shopper, network, "data-50gb")
        later(shopper, 30 * DAY - timedelta(seconds=1))
        renewal = shopper.order_now({"id": now(shopper, service)["renewal_order_id"]})
        shopper.pay(renewal)
        later(shopper, timedelta(seconds=2))
        network.carry_out_all()
        assert now(shopper, service)["state"] == "active"
        assert now(shopper, service)["expires_at"] > "2027-01-20T12:00:00Z"


@pytest.mark.parametrize("end", ["refused", "given_up", "service_gone"])
def test_a_renewal_that_the_network_does_not_carry_out_is_refunded(
    shopper: Shopper, network: Network, end: str
) -> None:
    with clock.frozen(NOON):
        service = bought(shopper, network, "data-50gb")
        later(shopper, 27 * DAY)
        renewal = shopper.order_now({"id": now(shopper, service)["renewal_order_id"]})
        if end == "service_gone":
            network.answers = []
            path = f"/api/provisioning/services/{service['id']}/deactivate"
            assert shopper.client.post(path, headers=shopper.headers).status_code == 202
            assert shopper.order_now(renewal)["state"] == "cancelled"
            return
        network.answers = [Answer(Verdict.REFUSED, "no_credit") if end == "refused" else _away()]
        shopper.pay(renewal)
        network.carry_out_all()
        if end == "given_up":
            clock.move(timedelta(hours=2))
            give_up_orders(timedelta(hours=1), LEASE, QUARANTINE)
            clock.move(LEASE)
            network.carry_out_all()
            assert (network.calls[-1].action, network.calls[-1].state) == ("reconcile", "active")
        shopper.headers = bearer(shopper.user_id)
        assert shopper.order_now(renewal)["state"] == "failed"
        assert now(shopper, service)["expires_at"] == "2026-12-21T12:00:00Z"
    assert len(emitted("order.failed")) == 1


def _away() -> Answer:
    return Answer(Verdict.FAILED, "no_answer")


def test_renewal_is_switched_off_and_its_unpaid_order_withdrawn(shopper: Shopper, network: Network) -> None:
    with clock.frozen(NOON):
        service = bought(shopper, network, "data-50gb")
        later(shopper, 27 * DAY)
        renewal = {"id": now(shopper, service)["renewal_order_id"]}
        off = patch(shopper, service, renews=False)
        assert (off.status_code, off.json["renews"], off.json["renewal_order_id"]) == (200, False, None)
        assert shopper.order_now(renewal)["state"] == "cancelled"
        later(shopper, DAY)
        assert now(shopper, service)["renewal_order_id"] is None
        pack = bought(shopper, network, "data-5gb")
        refused = patch(shopper, pack, renews=True)
        assert (refused.status_code, refused.json["code"]) == (409, "service_not_renewable")


@pytest.mark.parametrize("way", ["cancelled", "switched_off"])
def test_a_customer_who_wants_a_withdrawn_renewal_after_all_gets_another(
    shopper: Shopper, network: Network, way: str
) -> None:
    with clock.frozen(NOON):
        service = bought(shopper, network, "data-50gb")
        later(shopper, 27 * DAY)
        first = now(shopper, service)["renewal_order_id"]
        if way == "cancelled":
            shopper.client.post(f"/api/provisioning/orders/{first}/cancel", headers=shopper.headers)
        else:
            patch(shopper, service, renews=False)
        later(shopper, timedelta(hours=1))
        assert now(shopper, service)["renewal_order_id"] in (first, None)
        assert patch(shopper, service, renews=True).status_code == 200
        later(shopper, timedelta(hours=1))
        second = shopper.order_now({"id": now(shopper, service)["renewal_order_id"]})
        assert (second["id"] != first, second["state"]) == (True, "pending_payment")
        later(shopper, timedelta(hours=1))
    assert len(emitted("order.created")) == 3


def test_an_offering_that_is_no_longer_sold_is_not_renewed(shopper: Shopper, network: Network) -> None:
    with clock.frozen(NOON):
        service = bought(shopper, network, "data-50gb")
        with transaction() as session:
            offering = session.get_one(Offering, service["offering"]["id"])
            offering.recurring = False
        later(shopper, 27 * DAY)
        assert now(shopper, service)["renewal_order_id"] is None
    assert len(emitted("service.expiring")) == 1


def test_a_closed_account_has_everything_switched_off_and_its_orders_cancelled(
    shopper: Shopper, network: Network
) -> None:
    with clock.frozen(NOON):
        live = bought(shopper, network, "data-5gb")
        network.before.append(lambda: close_account(shopper))
        being_activated, unpaid = shopper.buy("sms-100"), shopper.order("voice-60").json
        network.carry_out_all()
        assert {s["state"] for s in shopper.services()} == {"terminated"}
        assert shopper.order_now(being_activated)["state"] == "completed"
        assert shopper.order_now(unpaid)["state"] == "cancelled"
    reasons = [event.data["reason"] for event in emitted("service.deactivated")]
    assert reasons == ["account_closed"] * 2
    assert live["id"] in [event.data["service_id"] for event in emitted("service.deactivated")]


def close_account(shopper: Shopper) -> None:
    from provisioning.use_cases import customers

    with transaction() as session:
        customers.record_deactivation(session, user_id=shopper.user_id, at=clock.now())


def test_an_order_that_is_paid_but_not_begun_is_refunded_when_the_account_closes(
    shopper: Shopper, network: Network
) -> None:
    order = shopper.buy("data-5gb")
    close_account(shopper)
    assert network.carry_out_all() == 0
    assert [event.data["reason"] for event in emitted("order.cancelled")] == ["account_closed"]
    assert shopper.order_now(order)["state"] == "cancelled"


def test_a_service_begins_when_its_order_says(shopper: Shopper, network: Network) -> None:
    with clock.frozen(NOON):
        shopper.headers = bearer(shopper.user_id)
        body = {"offering_id": shopper.offering("data-5gb")["id"], "starts_at": "2026-11-23T08:00:00+05:30"}
        placed = shopper.client.post(
            "/api/provisioning/orders", json=body, headers=shopper.headers | {"Idempotency-Key": "k"}
        )
        assert (placed.status_code, placed.json["starts_at"]) == (201, "2026-11-23T02:30:00Z")
        shopper.pay(placed.json)
        assert network.carry_out_all() == 0
        clock.move(timedelta(hours=2))
        give_up_orders(timedelta(hours=1), LEASE, QUARANTINE)
        shopper.headers, agent = bearer(shopper.user_id), bearer(None, "agent")
        retried = shopper.client.post(
            f"/api/provisioning/admin/orders/{placed.json['id']}/retry", headers=agent
        )
        assert retried.status_code == 409
        clock.move(timedelta(hours=36, minutes=30))
        network.carry_out_all()
        shopper.headers = bearer(shopper.user_id)
        (service,) = shopper.services()
        assert (service["state"], service["activated_at"]) == ("active", "2026-11-23T02:30:00Z")


@pytest.mark.parametrize(
    "at", ["2026-11-21T11:59:59Z", "2027-02-20T12:00:00Z", "2026-11-23T02:30:00", "soon"]
)
def test_a_start_in_the_past_or_too_far_ahead_is_refused(shopper: Shopper, at: str) -> None:
    with clock.frozen(NOON):
        shopper.headers = bearer(shopper.user_id)
        body = {"offering_id": shopper.offering("data-5gb")["id"], "starts_at": at}
        headers = shopper.headers | {"Idempotency-Key": "k"}
        assert shopper.client.post("/api/provisioning/orders", json=body, headers=headers).status_code == 422


def test_a_barred_customer_may_not_order_and_is_told_why(shopper: Shopper) -> None:
    account = {"user_id": shopper.user_id, "account_id": shopper.user_id, "account_number": "STL-0000000001"}
    deliver(
        HANDLERS,
        an_event("account.barred", shopper.user_id, account | {"level": "soft", "reason": "overdue"}),
    )
    refused = shopper.order("data-5gb")
    assert (refused.status_code, refused.json["code"]) == (403, "account_barred")
    asked = shopper.get(f"/offerings/{shopper.offering('roaming-day')['id']}/eligibility").json
    assert [reason["code"] for reason in asked["reasons"]] == ["account_barred", "kyc_required"]
    assert asked["eligible"] is False


def test_offerings_that_need_or_exclude_another_one_say_so(shopper: Shopper, network: Network) -> None:
    with transaction() as session:
        by_code = {o.code: session.get_one(Offering, o.id) for o in session.query(Offering)}
        by_code["sms-500"].requires = ["data-5gb"]
        by_code["voice-300"].excludes = ["sms-100"]
    needs = shopper.order("sms-500")
    assert (needs.status_code, needs.json["code"]) == (409, "requires_service")
    assert "data-5gb" in needs.json["detail"]
    both = [shopper.order("sms-100").json, shopper.order("voice-300").json]
    for order in both:
        shopper.pay(order)
    network.carry_out_all()
    assert [shopper.order_now(order)["state"] for order in both] == ["completed", "failed"]
    (failed,) = emitted("order.failed")
    assert failed.data["reason"] == "excluded_by_service"
    for code in ("voice-300", "sms-500"):
        assert shopper.order(code).status_code == 409
    shopper.buy("data-5gb")
    assert shopper.order("sms-500").status_code == 201
    asked = shopper.get(f"/offerings/{shopper.offering('data-5gb')['id']}/eligibility").json
    assert asked == {"eligible": True, "reasons": []}


def test_an_approved_identity_opens_the_offerings_that_need_it(shopper: Shopper) -> None:
    assert shopper.order("roaming-day", country="SG").status_code == 403
    deliver(
        HANDLERS,
        an_event("kyc.approved", shopper.user_id, {"user_id": shopper.user_id, "kyc_id": shopper.user_id}),
    )
    assert shopper.order("roaming-day", country="SG").status_code == 201
