"""Pools of numbers and SIM cards, and allowances as billing counts what was used."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from common import clock, ids
from provisioning.handlers import HANDLERS
from provisioning.jobs import read_deliveries
from tests.support.provisioning import Network, Shopper
from tests.support.services import an_event, bearer, deliver

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
INVENTORY = "/api/provisioning/admin/inventory"


@pytest.fixture
def admin() -> dict[str, str]:
    return bearer(None, "admin")


def deliver_numbers(client: FlaskClient, admin: dict[str, str], *numbers: str) -> Any:
    csv = "\n".join(["msisdn,batch", *(f"{number},7" for number in numbers)])
    return read_delivery(client, admin, "msisdns", csv)


def read_delivery(client: FlaskClient, admin: dict[str, str], name: str, csv: str) -> Any:
    """What became of a delivery that the worker has read."""
    taken = client.post(f"{INVENTORY}/{name}/import", json={"csv": csv}, headers=admin)
    assert (taken.status_code, taken.json["state"], taken.json["read"]) == (202, "waiting", 0), taken.text
    while read_deliveries():
        pass
    read = client.get(f"{INVENTORY}/imports/{taken.json['id']}", headers=admin).json
    assert (read["state"], read["read"]) == ("done", read["lines"])
    return read


def items(client: FlaskClient, headers: dict[str, str], **query: str) -> list[dict[str, Any]]:
    found = client.get(f"{INVENTORY}/msisdns", query_string=query, headers=headers)
    assert found.status_code == 200, found.text
    listed: list[dict[str, Any]] = found.json["items"]
    return listed


def test_a_delivery_is_taken_but_for_its_faulty_lines_and_may_be_read_again(
    client: FlaskClient, admin: dict[str, str]
) -> None:
    numbers = ("+94771000100", "0771000101", "+94771000102", "", "+94771000100", "=CMD()")
    first = deliver_numbers(client, admin, *numbers)
    counted = ("lines", "added", "known", "faulty")
    assert [first[name] for name in counted] == [5, 2, 1, 2]
    assert [(e["line"], e["value"]) for e in first["errors"]] == [(3, "0771000101"), (7, "=CMD()")]
    later = client.get(f"{INVENTORY}/imports/{first['id']}?after_line=3", headers=admin).json
    assert [e["line"] for e in later["errors"]] == [7]
    again = deliver_numbers(client, admin, *numbers)
    assert [again[name] for name in counted] == [5, 0, 3, 2]
    listed = client.get(f"{INVENTORY}/imports", headers=admin).json["items"]
    assert [item["id"] for item in listed] == [again["id"], first["id"]]
    assert {item["value"] for item in items(client, admin, state="available")} == {
        "+94771000100",
        "+94771000102",
    }
    assert len(items(client, admin, value="94771000102")) == 1


def test_a_delivery_is_read_in_parts_and_shows_how_far(
    client: FlaskClient, admin: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provisioning.use_cases.inventory.AT_ONCE", 2)
    csv = "\r\n".join(
        ["\ufeffMSISDN;batch", "+94771000100;7", '"+94771000101', "x", "+94771000101;9", "+94771000102"]
    )
    taken = client.post(f"{INVENTORY}/msisdns/import", json={"csv": csv}, headers=admin).json
    seen = []
    while read_deliveries():
        now = client.get(f"{INVENTORY}/imports/{taken['id']}", headers=admin).json
        seen.append((now["state"], now["read"], now["added"], now["known"], now["faulty"]))
    assert seen == [("waiting", 2, 2, 0, 0), ("waiting", 4, 2, 1, 1), ("done", 5, 3, 1, 1)]


def test_a_delivery_of_one_endless_line_is_one_faulty_line(
    client: FlaskClient, admin: dict[str, str]
) -> None:
    read = read_delivery(client, admin, "sims", '"' + "8" * 300_000)
    assert (read["lines"], read["faulty"], read["errors"][0]["value"]) == (1, 1, "8" * 60)


def test_sims_are_iccids_and_a_pool_that_is_not_there_is_unknown(
    client: FlaskClient, admin: dict[str, str]
) -> None:
    sims = {"csv": "iccid\n8994012345678901234\n1234\n"}
    taken = read_delivery(client, admin, "sims", sims["csv"])
    assert (taken["kind"], taken["added"], taken["faulty"]) == ("sim", 1, 1)
    assert client.get(f"{INVENTORY}/sims?value=8994012345678901234", headers=admin).json["items"]
    assert client.get(f"{INVENTORY}/phones", headers=admin).status_code == 404
    assert client.post(f"{INVENTORY}/sims/import", json={"csv": ""}, headers=admin).status_code == 422
    assert (
        client.post(f"{INVENTORY}/sims/import", json=sims, headers=bearer(None, "agent")).status_code == 403
    )


def test_a_number_is_reserved_assigned_given_back_and_rests(
    client: FlaskClient, admin: dict[str, str]
) -> None:
    with clock.frozen(NOON):
        agent = bearer(None, "agent")
        deliver_numbers(client, bearer(None, "admin"), "+94771000100")
        (item,) = items(client, agent)
        path, one, two = f"{INVENTORY}/msisdns/{item['id']}", ids.new_id(), ids.new_id()

        def do(verb: str, user_id: str | None = None) -> tuple[int, str]:
            body = {"user_id": user_id} if user_id else {}
            answer = client.post(f"{path}/{verb}", json=body, headers=bearer(None, "agent"))
            return answer.status_code, answer.json.get("state") or answer.json["code"]

        assert do("reserve", one) == do("reserve", one) == (200, "reserved")
        assert do("reserve", two) == do("assign", two) == (409, "item_not_available")
        clock.move(timedelta(minutes=30))
        assert [i["state"] for i in items(client, bearer(None, "agent"), state="available")] == ["available"]
        assert do("reserve", two) == (200, "reserved")
        assert do("assign", two) == do("assign", two) == (200, "assigned")
        assert do("assign", one) == do("reserve", one) == (409, "item_not_available")
        assert do("release") == (200, "quarantined")
        assert do("reserve", two) == do("assign", two) == do("release") == (409, "item_not_available")
        clock.move(timedelta(days=180))
        assert do("reserve", one) == (200, "reserved")
        assert do("release") == (200, "available")


def test_one_of_many_who_want_a_number_gets_it(
    app: Flask, client: FlaskClient, admin: dict[str, str]
) -> None:
    deliver_numbers(client, admin, "+94771000100")
    path = f"{INVENTORY}/msisdns/{items(client, admin)[0]['id']}/reserve"

    def reserve(user_id: str) -> int:
        return app.test_client().post(path, json={"user_id": user_id}, headers=admin).status_code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(reserve, [ids.new_id() for _ in range(4)])) == [200, 409, 409, 409]


def test_what_billing_counts_as_used_is_shown_the_highest_of_its_own_validity(
    shopper: Shopper, network: Network
) -> None:
    shopper.buy("data-1gb")
    network.carry_out_all()
    (service,) = shopper.services()

    def told(used: int, until: str) -> int:
        data = {
            "user_id": shopper.user_id, "service_id": service["id"], "kind": "data_mb", "granted": 1024, "used": used,
            "until": until,
        }  # fmt: skip
        deliver(HANDLERS, an_event("allowance.used", shopper.user_id, data))
        shown: int = shopper.services()[0]["allowances"][0]["used"]
        return shown

    ends = service["expires_at"]
    assert [told(600, ends), told(400, ends), told(700, "2026-01-01T00:00:00Z")] == [600] * 3
    assert told(2000, ends) == 1024
