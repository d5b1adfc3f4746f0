"""Orders: placed, paid, cancelled, expired; one outcome whatever comes twice or out of order."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from common import clock, ids
from common.db import db, transaction
from common.messaging import Rejected
from provisioning.handlers import HANDLERS
from provisioning.jobs import expire_unpaid_orders
from provisioning.models import Offering
from provisioning.use_cases import customers, orders
from tests.support.eventually import eventually
from tests.support.provisioning import Network, Shopper
from tests.support.services import bearer, deliver, emitted

DAY = timedelta(days=1)


def test_a_priced_order_waits_for_its_money_and_the_platform_is_told(shopper: Shopper) -> None:
    order = shopper.order("data-50gb").json
    assert order["state"] == "pending_payment"
    assert order["total"] == {"amount_minor": 120_000, "currency": "LKR"}
    assert order["offering"]["code"] == "data-50gb"
    (event,) = emitted("order.created")
    assert event.subject == event.data["user_id"] == shopper.user_id
    assert (event.data["order_id"], event.data["number"]) == (order["id"], order["number"])
    assert (event.data["total"], event.data["state"]) == (order["total"], "pending_payment")


def test_a_free_order_goes_to_the_network_at_once(shopper: Shopper, network: Network) -> None:
    order = shopper.order("call-waiting").json
    assert order["state"] == "acknowledged"
    network.carry_out_all()
    assert shopper.order_now(order)["state"] == "completed"
    assert [service["state"] for service in shopper.services()] == ["active"]


def test_one_key_places_one_order(shopper: Shopper) -> None:
    first = shopper.order("data-5gb", key="k")
    again = shopper.order("data-5gb", key="k")
    assert first.data == again.data
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(emitted("order.created")) == 1


def test_an_order_without_a_key_is_refused(shopper: Shopper) -> None:
    body = {"offering_id": shopper.offering("data-5gb")["id"]}
    answer = shopper.client.post("/api/provisioning/orders", json=body, headers=shopper.headers)
    assert (answer.status_code, answer.json["code"]) == (400, "idempotency_key_required")


def test_wrong_characteristics_are_named_and_nothing_is_ordered(shopper: Shopper) -> None:
    for code, given, field in (
        ("ring-back-tone", {}, "ring_tone"),
        ("ring-back-tone", {"ring_tone": "no-such-tone"}, "ring_tone"),
        ("ring-back-tone", {"ring_tone": "baila-beat", "colour": "red"}, "colour"),
        ("data-5gb", {"ring_tone": "baila-beat"}, "ring_tone"),
        ("roaming-day", {"country": "XX"}, "country"),
        ("call-waiting-forward", {"forward_to": "0771234567"}, "forward_to"),
        ("call-waiting-forward", {"forward_to": "+9477\u0661234567"}, "forward_to"),
        ("call-waiting-forward", {"forward_to": "+94\x0077"}, "forward_to"),
    ):
        answer = shopper.order(code, **given)
        assert (answer.status_code, answer.json["code"]) == (422, "validation_failed"), given
        assert [error["field"] for error in answer.json["errors"]] == [f"characteristics.{field}"]
    assert emitted() == []


def test_bad_orders_are_refused(shopper: Shopper) -> None:
    known, headers = {"offering_id": ids.new_id()}, shopper.headers | {"Idempotency-Key": "k"}
    bodies: list[tuple[Any, int]] = [
        ({"offering_id": "x"}, 422),
        ({"offering_id": 7}, 422),
        ({}, 422),
        (known | {"price": 1}, 422),
        (known | {"characteristics": {"a": 1}}, 422),
        (known | {"characteristics": {"a" * 41: "x"}}, 422),
        (known | {"characteristics": {f"a{n}": "x" for n in range(21)}}, 422),
        (known | {"characteristics": {"a": "x" * 101}}, 422),
        ([], 422),
        (known, 404),
    ]
    for body, status in bodies:
        answer = shopper.client.post("/api/provisioning/orders", json=body, headers=headers)
        assert answer.status_code == status, answer.text
    assert emitted() == []


def test_malformed_json_and_lone_surrogates_are_refused(shopper: Shopper) -> None:
    headers = shopper.headers | {"Idempotency-Key": "k", "Content-Type": "application/json"}
    for raw in (b"{", b'{"offering_id": "\\ud800"}', b"\xff", b'{"characteristics": {"a": "\\u0000"}}'):
        answer = shopper.client.post("/api/provisioning/orders", data=raw, headers=headers)
        assert answer.status_code in (400, 422), answer.text


def test_kyc_is_needed_where_the_offering_says_so(shopper: Shopper) -> None:
    refused = shopper.order("roaming-day", country="SG")
    assert (refused.status_code, refused.json["code"]) == (403, "kyc_required")
    with transaction() as session:
        customers.record_kyc_approval(session, user_id=shopper.user_id, at=clock.now())
    assert shopper.order("roaming-day", country="SG").status_code == 201


def test_a_feature_is_ordered_once_and_packs_stack(shopper: Shopper, network: Network) -> None:
    for code in ("call-waiting", "data-5gb"):
        shopper.buy(code)
    being_activated = shopper.order("call-waiting")
    network.carry_out_all()
    active = shopper.order("call-waiting")
    for refused in (being_activated, active):
        assert (refused.status_code, refused.json["code"]) == (409, "already_active")
    shopper.buy("data-5gb")
    network.carry_out_all()
    assert sorted(s["offering"]["code"] for s in shopper.services("active")) == [
        "call-waiting", "data-5gb", "data-5gb",
    ]  # fmt: skip


def test_concurrent_orders_of_a_feature_give_one_service(
    app: Flask, shopper: Shopper, network: Network
) -> None:
    body = {"offering_id": shopper.offering("call-waiting")["id"]}

    def order(_number: int) -> tuple[int, str]:
        headers = shopper.headers | {"Idempotency-Key": ids.new_id()}
        answer = app.test_client().post("/api/provisioning/orders", json=body, headers=headers)
        return answer.status_code, answer.json.get("code", "")

    with ThreadPoolExecutor(6) as pool:
        answers = sorted(pool.map(order, range(6)))
    assert answers == [(201, ""), *[(409, "already_active")] * 5]
    network.carry_out_all()
    assert len(shopper.services()) == 1


def test_an_order_that_is_overtaken_between_its_checks_and_its_activation_is_refused_as_any_other(
    app: Flask, shopper: Shopper, monkeypatch: pytest.MonkeyPatch
) -> None:
    if db.engine.dialect.name == "sqlite":
        pytest.skip("writers of SQLite come one after the other")
    checked, overtaken, real = threading.Event(), threading.Event(), orders.copy_offering

    def copy_offering(*args: Any, **kwargs: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            checked.set()
            overtaken.wait(60)
        return real(*args, **kwargs)

    def waits_for_a_lock() -> bool:
        with db.engine.connect() as connection:
            return bool(connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))

    monkeypatch.setattr(orders, "copy_offering", copy_offering)
    body = {"offering_id": shopper.offering("call-waiting")["id"]}
    headers = shopper.headers | {"Idempotency-Key": "k"}
    with ThreadPoolExecutor(1) as pool:
        with transaction() as session:
            orders.place_order(
                session,
                order_id=ids.new_id(),
                user_id=shopper.user_id,
                offering_id=body["offering_id"],
                characteristics={},
            )
            order = pool.submit(
                app.test_client().post, "/api/provisioning/orders", json=body, headers=headers
            )
            eventually(lambda: checked.is_set() or waits_for_a_lock())
        overtaken.set()
        answer = order.result()
    assert (answer.status_code, answer.json["code"]) == (409, "already_active")


def test_a_closed_account_orders_nothing_free_or_not(shopper: Shopper) -> None:
    with transaction() as session:
        customers.record_deactivation(session, user_id=shopper.user_id, at=clock.now())
    for code in ("call-waiting", "data-5gb"):
        refused = shopper.order(code)
        assert (refused.status_code, refused.json["code"]) == (403, "account_closed")
    assert emitted() == []


def test_a_feature_paid_twice_is_activated_once_and_the_other_fails(
    shopper: Shopper, network: Network
) -> None:
    orders = [shopper.order("ring-back-tone", ring_tone="baila-beat").json for _ in range(2)]
    for order in orders:
        shopper.pay(order)
    network.carry_out_all()
    assert [shopper.order_now(order)["state"] for order in orders] == ["completed", "failed"]
    (event,) = emitted("order.failed")
    assert (event.data["order_id"], event.data["reason"]) == (orders[1]["id"], "already_active")


def test_a_catalogue_change_leaves_an_order_as_it_was(shopper: Shopper, network: Network) -> None:
    order = shopper.order("data-5gb").json
    with transaction() as session:
        offering = session.get_one(Offering, order["offering"]["id"])
        offering.name, offering.price_minor, offering.allowances = "Other", 1, []
    assert shopper.order_now(order)["total"] == order["total"]
    shopper.pay(order)
    network.carry_out_all()
    (service,) = shopper.services()
    assert service["offering"]["name"] == "Data Week 5 GB"
    assert service["allowances"] == [{"kind": "data_mb", "granted": 5120, "used": 0}]


def test_a_payment_delivered_twice_activates_once(shopper: Shopper, network: Network) -> None:
    order = shopper.order("data-5gb").json
    payment = shopper.payment(order)
    for _ in range(3):
        deliver(HANDLERS, payment)
        network.carry_out_all()
    assert len(network.calls) == len(shopper.services()) == len(emitted("service.activated")) == 1


def test_payments_for_other_things_are_none_of_ours(shopper: Shopper) -> None:
    order = shopper.order("data-5gb").json
    for reference in ({"type": "invoice", "id": order["id"]}, {"type": "top_up", "id": None}):
        for kind in ("payment.completed", "payment.failed", "payment.refunded"):
            deliver(HANDLERS, shopper.payment(order, kind, reference=reference, reason="x"))
    assert shopper.order_now(order) == order


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": {"amount_minor": 1, "currency": "LKR"}},
        {"amount": {"amount_minor": 34_900, "currency": "USD"}},
        {"user_id": ids.new_id()},
        {"reference": {"type": "order", "id": ids.new_id()}},
    ],
)
def test_a_payment_that_does_not_fit_is_dead_with_a_reason_and_changes_nothing(
    shopper: Shopper, changes: dict
) -> None:
    order = shopper.order("data-5gb").json
    with pytest.raises(Rejected):
        shopper.pay(order, **changes)
    assert shopper.order_now(order) == order


def test_failed_payments_and_refunds_are_kept_in_the_history(shopper: Shopper) -> None:
    order = shopper.order("data-5gb").json
    deliver(HANDLERS, shopper.payment(order, "payment.failed", reason="card_declined"))
    assert shopper.order_now(order)["state"] == "pending_payment"
    shopper.pay(order)
    deliver(HANDLERS, shopper.payment(order, "payment.refunded", refund_id=ids.new_id(), reason="x"))
    assert [(line["state"], line["reason"]) for line in shopper.order_now(order)["history"]] == [
        ("pending_payment", "placed"),
        ("pending_payment", "payment_failed: card_declined"),
        ("acknowledged", "paid"),
        ("acknowledged", "refunded"),
    ]


@pytest.mark.parametrize("paid", [False, True])
def test_cancelling_before_the_network_is_told_ends_the_order(
    shopper: Shopper, network: Network, paid: bool
) -> None:
    order = shopper.order("ring-back-tone", ring_tone="baila-beat").json
    if paid:
        shopper.pay(order)
    cancelled = shopper.client.post(f"/api/provisioning/orders/{order['id']}/cancel", headers=shopper.headers)
    assert (cancelled.status_code, cancelled.json["state"]) == (200, "cancelled")
    (event,) = emitted("order.cancelled")
    assert (event.data["order_id"], event.data["total"]) == (order["id"], order["total"])
    assert network.carry_out_all() == 0
    assert shopper.services("active") == []
    assert shopper.order("ring-back-tone", ring_tone="baila-beat").status_code == 201


def test_a_completed_order_cannot_be_cancelled(shopper: Shopper, network: Network) -> None:
    order = shopper.buy("data-5gb")
    network.carry_out_all()
    answer = shopper.client.post(f"/api/provisioning/orders/{order['id']}/cancel", headers=shopper.headers)
    assert (answer.status_code, answer.json["code"]) == (409, "order_not_cancellable")
    assert emitted("order.cancelled") == []


def test_money_for_a_cancelled_order_changes_nothing_here(shopper: Shopper, network: Network) -> None:
    order = shopper.order("data-5gb").json
    shopper.client.post(f"/api/provisioning/orders/{order['id']}/cancel", headers=shopper.headers)
    shopper.pay(order)
    assert network.carry_out_all() == 0
    now = shopper.order_now(order)
    assert (now["state"], now["payment_id"]) == ("cancelled", None)
    assert now["history"][-1]["reason"] == "paid_while_cancelled"


def test_an_order_expires_unpaid_after_a_day_and_not_before(shopper: Shopper, network: Network) -> None:
    with clock.frozen(datetime(2026, 11, 21, 12, tzinfo=UTC)):
        shopper.headers = bearer(shopper.user_id)
        unpaid, paid = shopper.order("data-5gb").json, shopper.order("data-1gb").json
        shopper.pay(paid)
        clock.move(DAY)
        expire_unpaid_orders(DAY)
        assert emitted("order.cancelled") == []
        clock.move(timedelta(seconds=1))
        for _ in range(2):
            expire_unpaid_orders(DAY)
        shopper.headers = bearer(shopper.user_id)
        assert shopper.order_now(unpaid)["state"] == "expired"
        assert shopper.order_now(paid)["state"] == "acknowledged"
    (event,) = emitted("order.cancelled")
    assert (event.data["order_id"], event.data["reason"]) == (unpaid["id"], "expired")


def test_the_list_shows_own_orders_newest_first_as_the_order_itself_does(
    shopper: Shopper, client: FlaskClient
) -> None:
    orders = [shopper.buy("sms-100") for _ in range(3)]
    Shopper(client).buy("sms-100")
    items = shopper.get("/orders").json["items"]
    assert [item["id"] for item in items] == [order["id"] for order in reversed(orders)]
    for item in items:
        alone = shopper.order_now(item)
        del alone["history"]
        assert alone == item
    assert shopper.get("/orders?state=pending_payment").json["items"] == []


def test_another_customers_order_is_unknown(shopper: Shopper, client: FlaskClient) -> None:
    order, stranger = shopper.buy("data-5gb"), Shopper(client)
    assert stranger.get(f"/orders/{order['id']}").status_code == 404
    cancelled = client.post(f"/api/provisioning/orders/{order['id']}/cancel", headers=stranger.headers)
    assert cancelled.status_code == 404
    assert shopper.order_now(order)["state"] == "acknowledged"


def test_only_agents_and_admins_see_everybodys_orders(shopper: Shopper, client: FlaskClient) -> None:
    order = shopper.buy("data-5gb")
    Shopper(client).buy("sms-100")
    assert shopper.get("/admin/orders").status_code == 403
    for role in ("agent", "admin"):
        headers = bearer(None, role)
        assert len(client.get("/api/provisioning/admin/orders", headers=headers).json["items"]) == 2
        for query in (f"number={order['number']}", f"user_id={shopper.user_id}"):
            (item,) = client.get(f"/api/provisioning/admin/orders?{query}", headers=headers).json["items"]
            assert (item["id"], item["user_id"]) == (order["id"], shopper.user_id)
