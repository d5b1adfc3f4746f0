"""The public catalogue."""

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event

from common import clock
from common.db import db, reading, transaction
from provisioning import queries
from provisioning.models import Offering, OfferingState


def test_the_catalogue_is_public_and_has_every_category(client: FlaskClient) -> None:
    items = client.get("/api/provisioning/offerings?limit=100").json["items"]
    categories = [item["category"] for item in items]
    for category in ("data", "roaming", "ring_back_tone", "call_waiting", "sms", "voice"):
        assert categories.count(category) >= 2
        listed = client.get(f"/api/provisioning/offerings?category={category}").json["items"]
        assert [item for item in items if item["category"] == category] == listed


def test_seeding_again_adds_nothing_and_changes_nothing(app: Flask, client: FlaskClient) -> None:
    with transaction() as session:
        session.get_one(Offering, _ids(client)[0]).price_minor = 12_345
    again = app.test_cli_runner().invoke(args=["seed-catalogue"])
    assert again.output.startswith("0 of ")
    assert (
        client.get("/api/provisioning/offerings?limit=1").json["items"][0]["price"]["amount_minor"] == 12_345
    )


def test_a_broken_catalogue_file_adds_nothing(app: Flask, tmp_path) -> None:
    file = tmp_path / "catalogue.json"
    file.write_text('[{"code": "Bad Code"}]')
    seeded = app.test_cli_runner().invoke(args=["seed-catalogue", "--file", str(file)])
    assert seeded.exit_code == 1
    assert app.test_client().get("/api/provisioning/offerings").json["items"] == []


def test_pages_show_each_offering_once(client: FlaskClient) -> None:
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        page = client.get(f"/api/provisioning/offerings?limit=5{cursor and '&cursor=' + cursor}").json
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert len(seen) == len(set(seen)) == len(_ids(client))


def test_an_offering_looks_the_same_alone_and_in_the_list(client: FlaskClient) -> None:
    for item in client.get("/api/provisioning/offerings?limit=100").json["items"]:
        assert client.get(f"/api/provisioning/offerings/{item['id']}").json == item


@pytest.mark.parametrize("state", [OfferingState.DRAFT, OfferingState.RETIRED])
def test_drafts_and_retired_offerings_are_not_shown(client: FlaskClient, state: OfferingState) -> None:
    offering_id = _ids(client)[0]
    with transaction() as session:
        session.get_one(Offering, offering_id).state = state
    assert offering_id not in _ids(client)
    assert client.get(f"/api/provisioning/offerings/{offering_id}").status_code == 404


@pytest.mark.parametrize(
    ("query", "status"),
    [("category=cars", 422), ("limit=0", 422), ("limit=101", 422), ("cursor=x", 422), ("colour=red", 422),
     ("category=data&category=sms", 422), ("category=%FF", 422)],
)  # fmt: skip
def test_bad_queries_are_refused(client: FlaskClient, query: str, status: int) -> None:
    assert client.get(f"/api/provisioning/offerings?{query}").status_code == status


@pytest.mark.parametrize(
    ("look", "index"),
    [
        (lambda session: queries.due_commands(session, 5), "ix_commands_due"),
        (lambda session: queries.unpaid_orders(session, clock.now(), 5), "ix_orders_unpaid"),
    ],
)
def test_what_the_worker_looks_for_is_found_by_a_partial_index(app: Flask, look, index: str) -> None:
    if db.engine.dialect.name != "sqlite":
        pytest.skip("the planner of Postgres scans tables as small as these")
    statements: list[tuple] = []
    event.listen(db.engine, "before_cursor_execute", lambda *args: statements.append(args[2:4]))
    with reading() as session:
        look(session)
        sql, values = next(s for s in statements if s[0].startswith("SELECT"))
        plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values).all()
    assert any(index in step.detail for step in plan), plan


def _ids(client: FlaskClient) -> list[str]:
    return [item["id"] for item in client.get("/api/provisioning/offerings?limit=100").json["items"]]
