"""The public catalogue."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from common.db import transaction
from provisioning.cache import catalogue_cache
from provisioning.models import Offering, OfferingState


def test_the_catalogue_is_public_and_has_every_category(client: FlaskClient) -> None:
    items = client.get("/api/provisioning/offerings?limit=100").json["items"]
    categories = [item["category"] for item in items]
    for category in ("data", "roaming", "ring_back_tone", "call_waiting", "sms", "voice"):
        assert categories.count(category) >= 2
        listed = client.get(f"/api/provisioning/offerings?category={category}").json["items"]
        assert [item for item in items if item["category"] == category] == listed


def test_the_first_of_a_category_is_an_offering_by_itself(client: FlaskClient) -> None:
    for category in ("data", "roaming", "ring_back_tone", "call_waiting", "sms", "voice"):
        first = client.get(f"/api/provisioning/offerings?category={category}&limit=1").json["items"][0]
        assert first["bundles"] == []
    assert client.get("/api/provisioning/offerings").json["items"][-1]["category"] == "bundle"


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
    catalogue_cache().drop()
    assert offering_id not in _ids(client)
    assert client.get(f"/api/provisioning/offerings/{offering_id}").status_code == 404


def test_bad_queries_are_refused(client: FlaskClient) -> None:
    for query in (
        "category=cars", "limit=0", "limit=101", "cursor=x", "colour=red", "category=data&category=sms", "category=%FF",
    ):  # fmt: skip
        assert client.get(f"/api/provisioning/offerings?{query}").status_code == 422, query


def _ids(client: FlaskClient) -> list[str]:
    return [item["id"] for item in client.get("/api/provisioning/offerings?limit=100").json["items"]]
