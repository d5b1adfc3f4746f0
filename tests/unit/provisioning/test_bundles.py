"""Bundles: one order, its parts on together or not at all."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_migrate import upgrade as migrate_to
from sqlalchemy import MetaData, Table, inspect, text

from common import clock
from common.db import db, transaction
from provisioning.cache import catalogue_cache
from provisioning.gateway import Answer, Verdict
from provisioning.handlers import HANDLERS
from provisioning.jobs import give_up_orders
from provisioning.models import Element, Offering
from provisioning.queries import due_commands
from provisioning.schemas import OfferingIn
from provisioning.use_cases.audit import Actor
from provisioning.use_cases.catalogue import change_offering
from tests.support.eventually import eventually
from tests.support.provisioning import LEASE, QUARANTINE, RULES, Network, Shopper, carry_out
from tests.support.services import an_event, bearer, deliver, emitted, make_app

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
OFFERINGS = "/api/provisioning/admin/offerings"
PARTS = ["data-5gb", "ring-back-tone", "roaming-standard"]
BUNDLE: dict[str, Any] = {
    "code": "traveller", "name": "Traveller", "description": "Data, a tone and roaming.", "category": "data",
    "price_minor": 50000, "bundles": PARTS,
}  # fmt: skip
REFUSED = Answer(Verdict.REFUSED, "no_credit")
SILENT = Answer(Verdict.FAILED, "no_answer")


def on_sale(client: FlaskClient, **changes: Any) -> dict[str, Any]:
    admin = bearer(None, "admin")
    drafted = client.post(OFFERINGS, json=BUNDLE | changes, headers=admin)
    assert drafted.status_code == 201, drafted.text
    sold = client.post(f"{OFFERINGS}/{drafted.json['id']}/activate", headers=admin)
    assert sold.status_code == 200, sold.text
    return dict(sold.json)


@pytest.fixture
def buyer(client: FlaskClient) -> Shopper:
    """A customer with KYC, of an operator that sells a bundle."""
    on_sale(client)
    shopper = Shopper(client)
    deliver(HANDLERS, an_event("kyc.approved", shopper.user_id, {"user_id": shopper.user_id, "kyc_id": "x"}))
    return shopper


def tell(network: Network, element: Element) -> None:
    """Carry out what one element is due to be told."""
    with transaction() as session:
        due, *_ = due_commands(session, element, RULES, 10)
    for command_id in due:
        carry_out(command_id, network, RULES, QUARANTINE)


def states(shopper: Shopper) -> dict[str, str]:
    return {service["offering"]["code"]: service["state"] for service in shopper.services()}


def told(network: Network) -> list[tuple[str, str]]:
    return [(call.action.value, call.offering_code) for call in network.calls]


def test_what_follows_from_its_parts_is_shown_and_the_price_is_its_own(buyer: Shopper) -> None:
    shown = buyer.offering("traveller")
    assert (shown["bundles"], shown["requires_kyc"], shown["price"]["amount_minor"]) == (PARTS, True, 50000)
    assert [spec["name"] for spec in shown["characteristics"]] == ["ring_tone"]
    assert shown["allowances"] == [{"kind": "data_mb", "amount": 5120}]


def test_the_parts_of_one_order_are_on_together_when_the_last_is(buyer: Shopper, network: Network) -> None:
    with clock.frozen(NOON):
        buyer.headers = bearer(buyer.user_id)
        order = buyer.buy("traveller", ring_tone="baila-beat")
        assert [part["code"] for part in order["parts"]] == PARTS
        for element in (Element.CHARGING, Element.SUBSCRIBER_REGISTER):
            tell(network, element)
        assert buyer.order_now(order)["state"] == "in_progress"
        assert set(states(buyer).values()) == {"inactive"}
        assert emitted("service.activated") == []
        tell(network, Element.RING_BACK_TONES)
        assert buyer.order_now(order)["state"] == "completed"
        services = {service["offering"]["code"]: service for service in buyer.services("active")}
    assert sorted(services) == sorted(PARTS)
    assert services["data-5gb"]["expires_at"] == "2026-11-28T12:00:00Z"
    assert services["roaming-standard"]["expires_at"] is None
    assert services["ring-back-tone"]["characteristics"] == {"ring_tone": "baila-beat"}
    assert (services["ring-back-tone"]["renews"], services["data-5gb"]["characteristics"]) == (False, {})
    assert sorted(event.data["offering_code"] for event in emitted("service.activated")) == sorted(PARTS)
    assert {service["order_id"] for service in services.values()} == {order["id"]}


def test_a_refused_part_fails_the_order_once_and_undoes_the_others(buyer: Shopper, network: Network) -> None:
    with clock.frozen(NOON):
        buyer.headers = bearer(buyer.user_id)
        order = buyer.buy("traveller", ring_tone="withdrawn")
        tell(network, Element.CHARGING)
        network.answers = [SILENT]
        tell(network, Element.SUBSCRIBER_REGISTER)
        tell(network, Element.RING_BACK_TONES)
        assert buyer.order_now(order)["state"] == "failed"
        assert set(states(buyer).values()) == {"terminated"}
        tell(network, Element.SUBSCRIBER_REGISTER)
        assert len(network.calls) == 3  # the call that nobody knows the outcome of may still be on its way
        clock.move(LEASE)
        network.carry_out_all()
        assert buyer.order("roaming-standard").status_code == 201
    assert told(network)[3:] == [("deactivate", "data-5gb"), ("deactivate", "roaming-standard")]
    assert [event.data["offering_code"] for event in emitted("order.failed")] == ["traveller"]
    assert emitted("service.activated") == emitted("service.deactivated") == []


def test_a_part_that_never_succeeds_gives_the_whole_order_up(buyer: Shopper, network: Network) -> None:
    with clock.frozen(NOON):
        buyer.headers = bearer(buyer.user_id)
        order = buyer.buy("traveller", ring_tone="baila-beat")
        tell(network, Element.CHARGING)
        network.answers = [SILENT]
        tell(network, Element.RING_BACK_TONES)
        clock.move(timedelta(hours=1, seconds=1))
        give_up_orders(timedelta(hours=1), LEASE, QUARANTINE)
        clock.move(LEASE)
        network.carry_out_all()
        buyer.headers = bearer(buyer.user_id)
        assert buyer.order_now(order)["history"][-1]["reason"] == "network_unavailable"
        assert set(states(buyer).values()) == {"terminated"}
    assert sorted(told(network)[2:]) == [("deactivate", "data-5gb"), ("deactivate", "ring-back-tone")]
    assert len(emitted("order.failed")) == 1


def test_a_bar_that_comes_between_the_parts_suspends_them_once_they_are_on(
    buyer: Shopper, network: Network
) -> None:
    with clock.frozen(NOON):
        buyer.headers = bearer(buyer.user_id)
        buyer.buy("traveller", ring_tone="baila-beat")
        tell(network, Element.CHARGING)
        account = {"account_id": buyer.user_id, "account_number": "STL-0000000042", "user_id": buyer.user_id}
        barred = account | {"level": "soft", "reason": "overdue"}
        deliver(HANDLERS, an_event("account.barred", buyer.user_id, barred, time=clock.now()))
        tell(network, Element.CHARGING)
        assert told(network) == [("activate", "data-5gb")]
        for _ in range(2):
            network.carry_out_all()
            clock.move(timedelta(seconds=1))
        assert set(states(buyer).values()) == {"suspended"}


def test_an_account_closed_between_the_parts_leaves_nothing_on_and_tells_of_no_part_that_never_was(
    buyer: Shopper, network: Network
) -> None:
    with clock.frozen(NOON):
        buyer.headers = bearer(buyer.user_id)
        order = buyer.buy("traveller", ring_tone="baila-beat")
        tell(network, Element.CHARGING)
        closed = {"user_id": buyer.user_id, "reason": "deactivated_by_admin"}
        deliver(HANDLERS, an_event("user.deactivated", buyer.user_id, closed, time=clock.now()))
        network.carry_out_all()
        clock.move(timedelta(seconds=1))
        network.carry_out_all()
        buyer.headers = bearer(buyer.user_id)
        assert set(states(buyer).values()) == {"terminated"}
        assert buyer.order_now(order)["state"] in ("completed", "failed")
    on = [event.data["service_id"] for event in emitted("service.activated")]
    off = [event.data["service_id"] for event in emitted("service.deactivated")]
    assert sorted(on) == sorted(off)


def test_a_bundle_is_cancelled_and_refused_as_a_whole(buyer: Shopper, network: Network) -> None:
    order = buyer.buy("traveller", ring_tone="baila-beat")
    again = buyer.order("traveller", ring_tone="baila-beat")
    assert (again.status_code, again.json["code"]) == (409, "already_active")
    path = f"/api/provisioning/orders/{order['id']}/cancel"
    assert buyer.client.post(path, headers=buyer.headers).json["state"] == "cancelled"
    assert set(states(buyer).values()) == {"terminated"}
    assert network.carry_out_all() == 0
    assert buyer.order("traveller").status_code == 422  # the tone of its part is missing
    stranger = Shopper(buyer.client)
    assert stranger.order("traveller", ring_tone="baila-beat").json["code"] == "kyc_required"


def part_of_it(buyer: Shopper, code: str, **changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """An offering as staff see it, and what they would write to change it."""
    listed = buyer.client.get(f"{OFFERINGS}?limit=100", headers=bearer(None, "admin")).json["items"]
    part = next(item for item in listed if item["code"] == code)
    kept = ("code", "name", "description", "category", "validity_days", "element", "stackable")
    return part, {name: part[name] for name in kept} | {"price_minor": 1} | changes


def test_changes_of_two_parts_at_once_are_both_in_the_bundle(app: Flask, buyer: Shopper) -> None:
    pack, wish = part_of_it(buyer, "data-5gb", allowances=[{"kind": "data_mb", "amount": 9999}])
    roaming, other = part_of_it(buyer, "roaming-standard", allowances=[{"kind": "sms", "amount": 7}])
    admin = bearer(None, "admin")

    def waits_for_a_lock() -> bool:
        with db.engine.connect() as connection:
            return bool(connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))

    with ThreadPoolExecutor(1) as pool:
        with transaction() as session:
            offering = OfferingIn.model_validate(wish, strict=False)
            change_offering(session, offering, offering_id=pack["id"], actor=Actor("x", "x"))
            session.flush()
            path = f"{OFFERINGS}/{roaming['id']}"
            put = pool.submit(app.test_client().put, path, json=other, headers=admin)
            if db.engine.dialect.name == "postgresql":
                eventually(waits_for_a_lock)
        assert put.result().status_code == 200
    catalogue_cache().drop()
    assert buyer.offering("traveller")["allowances"] == [*wish["allowances"], *other["allowances"]]


def test_a_change_of_a_part_changes_the_bundle_and_no_order_of_it(buyer: Shopper, network: Network) -> None:
    order = buyer.order("traveller", ring_tone="baila-beat").json
    admin = bearer(None, "admin")
    pack, wish = part_of_it(buyer, "data-5gb", allowances=[{"kind": "data_mb", "amount": 9999}])
    changed = buyer.client.put(f"{OFFERINGS}/{pack['id']}", json=wish, headers=admin)
    assert changed.status_code == 200, changed.text
    assert buyer.offering("traveller")["allowances"] == [{"kind": "data_mb", "amount": 9999}]
    buyer.pay(order)
    network.carry_out_all()
    service = next(s for s in buyer.services("active") if s["offering"]["code"] == "data-5gb")
    assert service["allowances"] == [{"kind": "data_mb", "granted": 5120, "used": 0}]
    retired = buyer.client.post(f"{OFFERINGS}/{pack['id']}/retire", headers=admin)
    assert (retired.status_code, retired.json["code"]) == (409, "offering_not_editable")


def test_bundles_that_do_not_fit_together_are_refused(client: FlaskClient) -> None:
    for wrong in (
        {"bundles": ["data-5gb"]},
        {"bundles": ["data-5gb", "data-5gb"]},
        {"bundles": ["data-5gb", "nothing"]},
        {"bundles": ["data-5gb", "starter-bundle"]},
        {"bundles": ["ring-back-tone", "ring-back-tone-day"]},
        {"currency": "USD"},
        {"element": "ocs"},
        {"recurring": True},
        {"validity_days": 3},
        {"bundles": []},
    ):
        refused = client.post(OFFERINGS, json=BUNDLE | wrong, headers=bearer(None, "admin"))
        assert (refused.status_code, refused.json["code"]) == (422, "validation_failed"), wrong


def test_a_bundle_is_sold_only_with_all_its_parts(client: FlaskClient) -> None:
    admin = bearer(None, "admin")
    with transaction() as session:
        session.query(Offering).filter_by(code="data-5gb").one().state = "draft"
    bundle = client.post(OFFERINGS, json=BUNDLE, headers=admin).json
    refused = client.post(f"{OFFERINGS}/{bundle['id']}/activate", headers=admin)
    assert (refused.status_code, refused.json["code"]) == (409, "offering_not_editable")


def test_on_sqlite_the_key_of_one_service_per_order_goes_and_everything_else_stays(tmp_path: Path) -> None:
    with make_app("provisioning", f"sqlite:///{tmp_path / 'old.sqlite3'}", tmp_path).app_context():
        migrate_to(revision="0007")
        with db.engine.begin() as connection:
            for table in REBUILT:
                connection.execute(table_now(table).insert().values(row_of(table)))
        before = {table: shape(table) for table in REBUILT}
        assert ["order_id"] in keys_of("services")
        migrate_to()
        assert {table: shape(table) for table in REBUILT} == before
        assert ["order_id"] not in keys_of("services")
        with db.engine.connect() as connection:
            assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
            for table in REBUILT:
                assert connection.scalar(text(f"SELECT count(*) FROM {table}")) == 1
        db.engine.dispose()


REBUILT = ("orders", "services", "commands", "command_attempts")


def table_now(name: str) -> Table:
    return Table(name, MetaData(), autoload_with=db.engine)


def row_of(table: str) -> dict[str, Any]:
    """Something in every column; all ids are the same, so that every reference is there."""
    values: dict[type, Any] = {str: "x", int: 1, bool: False, datetime: NOON.replace(tzinfo=None)}
    return {column.name: values.get(column.type.python_type, {}) for column in table_now(table).columns}


def keys_of(table: str) -> list[list[str]]:
    return [key["column_names"] for key in inspect(db.engine).get_unique_constraints(table)]


def shape(table: str) -> Any:
    found = inspect(db.engine)
    return (
        {(column["name"], column["nullable"]) for column in found.get_columns(table)} - {("bundled", False)},
        {index["name"] for index in found.get_indexes(table)} - {"ix_services_order_id"},
        {(key["name"], key["referred_table"]) for key in found.get_foreign_keys(table)},
    )
