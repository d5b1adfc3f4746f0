"""Ring tones, wishlists, and stock that orders take."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from common import clock, ids
from common.db import reading, transaction
from provisioning.gateway import Answer, Verdict
from provisioning.jobs import expire_unpaid_orders, give_up_orders, read_deliveries
from provisioning.models import Offering, StockItem
from tests.support.provisioning import LEASE, QUARANTINE, Network, Shopper
from tests.support.services import bearer

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = timedelta(days=1)
API = "/api/provisioning"
ADMIN = f"{API}/admin"
ONE, TWO, SIM = "+94771000100", "+94771000101", "8994012345678901234"
TONE = {"code": "new-tone", "title": "100% New_Tone", "artist": "Nobody", "genre": "baila"}


@pytest.fixture
def line(client: FlaskClient, shopper: Shopper) -> Shopper:
    """A customer of an operator that has two second numbers to sell, with a card for each."""
    admin = bearer(None, "admin")
    for name, values in (("msisdns", [ONE, TWO]), ("sims", [SIM, SIM[:-1] + "5"])):
        client.post(f"{ADMIN}/inventory/{name}/import", json={"csv": "\n".join(values)}, headers=admin)
    while read_deliveries():
        pass
    return shopper


def stock() -> dict[str, str]:
    with reading() as session:
        return {item.value: item.state_now.value for item in session.query(StockItem)}


def numbers(shopper: Shopper, query: str = "") -> set[str]:
    return {item["value"] for item in shopper.get(f"/numbers{query}").json["items"]}


def deactivate(shopper: Shopper, service: dict[str, Any]) -> None:
    shopper.client.post(f"{API}/services/{service['id']}/deactivate", headers=shopper.headers)


def test_a_number_is_taken_with_the_order_live_with_the_service_and_rests_after_it(
    line: Shopper, network: Network
) -> None:
    with clock.frozen(NOON):
        line.headers = bearer(line.user_id)
        assert numbers(line) == {ONE, TWO}
        assert numbers(line, "?contains=0101") == {TWO}
        order = line.order("second-number", msisdn=TWO).json
        taken = {TWO, order["characteristics"]["sim"]}
        assert order["characteristics"]["msisdn"] == TWO
        assert {value for value, state in stock().items() if state == "reserved"} == taken
        clock.move(8 * DAY)
        line.headers = bearer(line.user_id)
        assert numbers(line) == {ONE}
        line.pay(order)
        network.carry_out_all()
        assert {value for value, state in stock().items() if state == "assigned"} == taken
        assert network.calls[-1].characteristics == order["characteristics"]
        deactivate(line, line.services("active")[0])
        assert stock()[TWO] == "assigned"
        network.carry_out_all()
        assert {value for value, state in stock().items() if state == "quarantined"} == taken
        clock.move(QUARANTINE)
        assert set(stock().values()) == {"available"}


@pytest.mark.parametrize("end", ["cancelled", "expired", "refused", "given_up"])
def test_a_number_goes_back_with_its_order_and_rests_if_the_network_knew_of_it(
    line: Shopper, network: Network, end: str
) -> None:
    with clock.frozen(NOON):
        line.headers = bearer(line.user_id)
        order = line.order("second-number", msisdn=ONE).json
        if end == "cancelled":
            line.pay(order)
            line.client.post(f"{API}/orders/{order['id']}/cancel", headers=line.headers)
        elif end == "expired":
            clock.move(2 * DAY)
            expire_unpaid_orders(DAY)
        else:
            line.pay(order)
            refused = Answer(Verdict.REFUSED, "number_in_use")
            network.answers = [refused if end == "refused" else Answer(Verdict.FAILED, "no_answer")]
            network.carry_out_all()
            clock.move(timedelta(hours=2))
            give_up_orders(timedelta(hours=1), LEASE, QUARANTINE)
        ended = {"refused": "failed", "given_up": "failed"}.get(end, end)
        line.headers = bearer(line.user_id)
        assert line.order_now(order)["state"] == ended
        assert stock()[ONE] == ("quarantined" if ended == "failed" else "available")
        assert list(stock().values()).count("reserved") == 0


def test_what_is_not_there_or_not_theirs_is_refused_and_takes_nothing(
    line: Shopper, client: FlaskClient
) -> None:
    other = Shopper(client)
    assert other.order("second-number", msisdn=ONE).status_code == 201
    for number in (ONE, "+94779999999", SIM):
        refused = line.order("second-number", msisdn=number)
        assert (refused.status_code, refused.json["code"]) == (409, "item_not_available")
    assert line.order("second-number").json["characteristics"]["msisdn"] == TWO
    refused = line.order("second-number")
    assert (refused.status_code, refused.json["code"]) == (409, "out_of_stock")
    asked = line.get(f"/offerings/{line.offering('second-number')['id']}/eligibility").json
    assert [reason["code"] for reason in asked["reasons"]] == ["out_of_stock"]
    assert list(stock().values()).count("reserved") == 4


def test_staff_cannot_take_away_what_an_order_holds_and_reserve_for_a_customer(
    line: Shopper, client: FlaskClient
) -> None:
    agent = bearer(None, "agent")
    items = client.get(f"{ADMIN}/inventory/msisdns", headers=agent).json["items"]
    reserved = next(item for item in items if item["value"] == TWO)
    path = f"{ADMIN}/inventory/msisdns/{reserved['id']}"
    client.post(f"{path}/reserve", json={"user_id": line.user_id}, headers=agent)
    assert line.order("second-number").json["characteristics"]["msisdn"] == TWO
    bodies: dict[str, dict[str, str]] = {
        "release": {}, "assign": {"user_id": line.user_id}, "reserve": {"user_id": ids.new_id()},
    }  # fmt: skip
    for verb, body in bodies.items():
        assert client.post(f"{path}/{verb}", json=body, headers=agent).status_code == 409


def test_ring_tones_are_searched_and_any_of_them_can_be_ordered(
    client: FlaskClient, shopper: Shopper, network: Network
) -> None:
    admin = bearer(None, "admin")
    added = client.post(f"{ADMIN}/ring-tones", json=TONE, headers=admin)
    assert added.status_code == 201, added.text

    def found(**query: str) -> list[str]:
        answer = client.get(f"{API}/ring-tones", query_string=query)
        return sorted(tone["code"] for tone in answer.json["items"])

    assert found(query="0% new_") == ["new-tone"]
    assert found(query="%") == ["new-tone"]
    assert found(query="COLOMBO dance", genre="baila") == [
        "baila-beat",
        "galle-face-sunset",
        "three-wheeler-hop",
    ]
    assert client.get(f"{API}/ring-tones/{added.json['id']}").json["title"] == "100% New_Tone"
    shopper.buy("ring-back-tone", ring_tone="new-tone")
    network.carry_out_all()
    (service,) = shopper.services("active")
    withdrawn = client.post(f"{ADMIN}/ring-tones/{added.json['id']}/withdraw", headers=admin)
    assert withdrawn.json["state"] == "withdrawn"
    assert found(query="new-tone") == []
    assert client.get(f"{API}/ring-tones/{added.json['id']}").status_code == 404
    assert Shopper(client).order("ring-back-tone", ring_tone="new-tone").status_code == 422
    assert shopper.get(f"/services/{service['id']}").json["characteristics"] == {"ring_tone": "new-tone"}
    assert client.post(f"{ADMIN}/ring-tones/{added.json['id']}/activate", headers=admin).status_code == 200
    assert found(query="new-tone") == ["new-tone"]


def test_a_tones_code_is_given_once_and_stays(client: FlaskClient) -> None:
    admin = bearer(None, "admin")
    tone = client.post(f"{ADMIN}/ring-tones", json=TONE, headers=admin).json
    path = f"{ADMIN}/ring-tones/{tone['id']}"
    for answer in (
        client.post(f"{ADMIN}/ring-tones", json=TONE, headers=admin),
        client.put(path, json=TONE | {"code": "other"}, headers=admin),
    ):
        assert (answer.status_code, answer.json["code"]) == (409, "code_taken")
    assert client.put(path, json=TONE | {"title": "Other"}, headers=admin).json["title"] == "Other"
    assert client.put(path, json=TONE, headers=bearer(None, "agent")).status_code == 403
    assert client.post(f"{ADMIN}/ring-tones", json=TONE | {"genre": "X y"}, headers=admin).status_code == 422


def test_a_wishlist_holds_each_offering_once_and_says_what_is_sold_no_more(shopper: Shopper) -> None:
    def wish(method: str, offering_id: str) -> int:
        path = f"{API}/wishlist/{offering_id}"
        return int(shopper.client.open(path, method=method, headers=shopper.headers).status_code)

    ids_of = [shopper.offering(code)["id"] for code in ("data-5gb", "sms-100")]
    assert [wish("PUT", one) for one in (*ids_of, ids_of[0])] == [200, 200, 200]
    listed = shopper.get("/wishlist").json["items"]
    assert [(item["offering"]["code"], item["available"]) for item in listed] == [
        ("sms-100", True),
        ("data-5gb", True),
    ]
    with transaction() as session:
        session.get_one(Offering, ids_of[1]).retire()
    assert [item["available"] for item in shopper.get("/wishlist").json["items"]] == [False, True]
    assert Shopper(shopper.client).get("/wishlist").json["items"] == []
    assert [wish("DELETE", ids_of[0]), wish("DELETE", ids_of[0])] == [204, 404]
    assert wish("PUT", ids.new_id()) == 404


def test_a_wishlist_has_an_end(shopper: Shopper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provisioning.use_cases.wishes.MOST", 1)
    for code, status in (("data-5gb", 200), ("sms-100", 409)):
        path = f"{API}/wishlist/{shopper.offering(code)['id']}"
        assert shopper.client.put(path, headers=shopper.headers).status_code == status
