"""What staff do: the catalogue and its cache, the elements, drift; all of it audited."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import fakeredis
import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from common import clock
from common.db import transaction
from provisioning.cache import ProcessCache, RedisCache
from provisioning.commands import audit_network
from provisioning.models import Offering, SimulatedService
from tests.support.provisioning import Network, Shopper
from tests.support.services import bearer

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
ADMIN = "/api/provisioning/admin"
PACK: dict[str, Any] = {
    "code": "data-2gb", "name": "Data 2 GB", "description": "2 GB for two days.", "category": "data",
    "price_minor": 19900, "validity_days": 2, "stackable": True, "element": "ocs",
    "allowances": [{"kind": "data_mb", "amount": 2048}],
}  # fmt: skip


@pytest.fixture
def admin() -> dict[str, str]:
    return bearer(None, "admin")


def codes(client: FlaskClient) -> set[str]:
    items = client.get("/api/provisioning/offerings?limit=100").json["items"]
    return {item["code"] for item in items}


def test_an_offering_is_drafted_sold_changed_and_retired(
    client: FlaskClient, shopper: Shopper, network: Network, admin: dict[str, str]
) -> None:
    drafted = client.post(f"{ADMIN}/offerings", json=PACK, headers=admin)
    assert (drafted.status_code, drafted.json["state"]) == (201, "draft")
    path = f"{ADMIN}/offerings/{drafted.json['id']}"
    assert "data-2gb" not in codes(client)
    assert client.get(f"/api/provisioning/offerings/{drafted.json['id']}").status_code == 404
    assert client.post(f"{path}/activate", headers=admin).status_code == 200
    assert "data-2gb" in codes(client)
    order = shopper.order("data-2gb").json
    dearer = client.put(path, json=PACK | {"price_minor": 29900, "allowances": []}, headers=admin)
    assert (dearer.status_code, dearer.json["price"]["amount_minor"]) == (200, 29900)
    assert shopper.offering("data-2gb")["price"]["amount_minor"] == 29900
    assert shopper.order_now(order)["total"]["amount_minor"] == 19900
    assert client.post(f"{path}/retire", headers=admin).status_code == 200
    assert "data-2gb" not in codes(client)
    shopper.pay(order)
    network.carry_out_all()
    (service,) = shopper.services("active")
    assert service["allowances"] == [{"kind": "data_mb", "granted": 2048, "used": 0}]
    for again in (client.put(path, json=PACK, headers=admin), client.post(f"{path}/activate", headers=admin)):
        assert (again.status_code, again.json["code"]) == (409, "offering_not_editable")
    assert client.delete(path, headers=admin).status_code == 409
    acts = client.get(f"{ADMIN}/audit-log", headers=admin).json["items"]
    assert [act["action"] for act in acts] == [
        "offering.retired", "offering.changed", "offering.activated", "offering.drafted",
    ]  # fmt: skip
    assert acts[1]["detail"] == {"changed": ["allowances", "price_minor"]}
    assert acts[0]["ip"] == "127.0.0.1"


def test_offerings_that_make_no_sense_are_refused(client: FlaskClient, admin: dict[str, str]) -> None:
    for wrong in (
        {"price_minor": -1},
        {"code": "Data 2"},
        {"element": "pgw"},
        {"element": None},
        {"requires": ["x y"]},
        {"surprise": 1},
        {"characteristics": [{"name": "tone", "label": "Tone", "type": "choice"}]},
        {"characteristics": [{"name": "to", "label": "To", "type": "phone"}] * 2},
        {"allowances": PACK["allowances"] * 2},
        {"characteristics": [{"name": "number", "label": "Number", "type": "msisdn", "changeable": True}]},
    ):
        refused = client.post(f"{ADMIN}/offerings", json=PACK | wrong, headers=admin)
        assert refused.status_code == 422, wrong


def test_a_code_is_given_once_and_a_draft_can_be_discarded(
    client: FlaskClient, admin: dict[str, str]
) -> None:
    taken = client.post(f"{ADMIN}/offerings", json=PACK | {"code": "data-5gb"}, headers=admin)
    assert (taken.status_code, taken.json["code"]) == (409, "offering_code_taken")
    draft = client.post(f"{ADMIN}/offerings", json=PACK, headers=admin).json
    renamed = client.put(f"{ADMIN}/offerings/{draft['id']}", json=PACK | {"code": "data-3gb"}, headers=admin)
    assert renamed.status_code == 409
    assert client.delete(f"{ADMIN}/offerings/{draft['id']}", headers=admin).status_code == 204
    assert client.get(f"{ADMIN}/offerings/{draft['id']}", headers=admin).status_code == 404


def test_only_admins_write_the_catalogue_and_agents_read_it(client: FlaskClient) -> None:
    agent, customer = bearer(None, "agent"), bearer()
    assert client.get(f"{ADMIN}/offerings?state=active", headers=agent).status_code == 200
    assert client.post(f"{ADMIN}/offerings", json=PACK, headers=agent).status_code == 403
    for path in ("offerings", "network-elements", "audit-log"):
        assert client.get(f"{ADMIN}/{path}", headers=customer).status_code == 403
    assert client.get(f"{ADMIN}/audit-log", headers=agent).status_code == 403


def test_a_held_element_is_called_no_more_until_it_is_released(
    client: FlaskClient, shopper: Shopper, network: Network, admin: dict[str, str]
) -> None:
    def hold(held: bool) -> dict[str, Any]:
        answer = client.patch(f"{ADMIN}/network-elements/ocs", json={"held": held}, headers=admin)
        return next(item for item in answer.json["items"] if item["element"] == "ocs")

    order = shopper.buy("data-5gb")
    assert (hold(True)["held"], hold(True)["pending"]) == (True, 1)
    assert network.carry_out_all() == 0
    assert hold(False)["circuit"] == "closed"
    network.carry_out_all()
    assert shopper.order_now(order)["state"] == "completed"
    assert client.patch(f"{ADMIN}/network-elements/x", json={"held": True}, headers=admin).status_code == 404
    acts = client.get(f"{ADMIN}/audit-log", headers=admin).json["items"]
    assert [act["action"] for act in acts] == ["network_element.released", "network_element.held"]


def test_what_staff_did_cannot_be_rewritten(app: Flask, client: FlaskClient, admin: dict[str, str]) -> None:
    client.post(f"{ADMIN}/offerings", json=PACK, headers=admin)
    for statement in ("UPDATE admin_acts SET ip = ''", "DELETE FROM admin_acts"):
        with pytest.raises(DBAPIError, match="append-only"), transaction() as session:
            session.execute(text(statement))


def test_drift_is_reported_and_repaired(app: Flask, shopper: Shopper, network: Network) -> None:
    for code in ("call-waiting", "data-5gb", "sms-100"):
        shopper.buy(code)
    network.carry_out_all()
    lost, other = (
        next(s for s in shopper.services() if s["offering"]["code"] == code)
        for code in ("call-waiting", "data-5gb")
    )
    with transaction() as session:
        session.delete(session.get_one(SimulatedService, lost["id"]))
        session.get_one(SimulatedService, other["id"]).state = "suspended"
    since = clock.now() - timedelta(days=30)
    found = {drift.service_id: drift.found for drift, _ in audit_network(network, since, repair=False)}
    assert found == {lost["id"]: "absent", other["id"]: "suspended"}
    told = app.test_cli_runner().invoke(args=["audit-network"])
    assert told.exit_code == 1
    assert {json.loads(line)["service_id"] for line in told.stdout.splitlines() if line[0] == "{"} == set(
        found
    )
    repaired = app.test_cli_runner().invoke(args=["audit-network", "--repair"])
    assert repaired.exit_code == 0, repaired.output
    network.carry_out_all()
    assert list(audit_network(network, since, repair=False)) == []


def test_a_retry_by_staff_is_audited_with_the_customer(
    client: FlaskClient, shopper: Shopper, admin: dict[str, str]
) -> None:
    order = shopper.buy("data-5gb")
    assert client.post(f"{ADMIN}/orders/{order['id']}/retry", headers=admin).status_code == 202
    (act,) = client.get(f"{ADMIN}/audit-log", headers=admin).json["items"]
    assert (act["action"], act["target"], act["user_id"]) == ("order.retried", order["id"], shopper.user_id)


def test_the_process_keeps_answers_for_a_while_and_drops_them() -> None:
    cache = ProcessCache(ttl_s=60)
    before = cache.generation()
    cache.put(before, "k", b"v")
    assert (cache.get(before, "k"), cache.get(before, "other")) == (b"v", None)
    cache.drop()
    assert cache.get(cache.generation(), "k") is None
    spent = ProcessCache(ttl_s=0)
    spent.put("0", "k", b"v")
    assert spent.get("0", "k") is None


@pytest.fixture
def redis_server(monkeypatch: pytest.MonkeyPatch) -> fakeredis.FakeServer:
    server = fakeredis.FakeServer()
    monkeypatch.setattr(redis.Redis, "from_url", lambda *_, **__: fakeredis.FakeRedis(server=server))
    return server


def test_processes_share_redis_and_do_without_it(redis_server: fakeredis.FakeServer) -> None:
    one, two = (RedisCache("redis://x", 60) for _ in range(2))
    before = one.generation()
    one.put(before, "k", b"v")
    assert two.get(two.generation(), "k") == b"v"
    two.drop()
    one.put(before, "k", b"made from the catalogue of before")
    assert one.get(one.generation(), "k") is None
    redis_server.connected = False
    one.put(one.generation(), "k", b"v")
    assert one.get(one.generation(), "k") is None


@pytest.mark.parametrize("shared", [False, True])
def test_the_public_catalogue_comes_from_the_cache_until_staff_change_it(
    app: Flask, client: FlaskClient, admin: dict[str, str], redis_server: fakeredis.FakeServer, shared: bool
) -> None:
    app.extensions["provisioning_catalogue"] = RedisCache("redis://x", 60) if shared else ProcessCache(60)

    def shown() -> tuple[str, int]:
        found = next(
            item
            for item in client.get("/api/provisioning/offerings?limit=100").json["items"]
            if item["code"] == "data-5gb"
        )
        return found["name"], found["price"]["amount_minor"]

    before = shown()
    with transaction() as session:
        session.query(Offering).filter_by(code="data-5gb").one().name = "Unseen"
    assert shown() == before
    pack = next(
        item
        for item in client.get(f"{ADMIN}/offerings?limit=100", headers=admin).json["items"]
        if item["code"] == "data-5gb"
    )
    wish = PACK | {"code": "data-5gb", "name": "Seen"}
    assert client.put(f"{ADMIN}/offerings/{pack['id']}", json=wish, headers=admin).status_code == 200
    assert shown() == ("Seen", PACK["price_minor"])
    redis_server.connected = False
    assert shown() == ("Seen", PACK["price_minor"])
