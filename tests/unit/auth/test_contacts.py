"""Postal addresses and further lines of an account."""

from flask.testing import FlaskClient

from tests.support.accounts import login, register, told, wrong
from tests.support.services import emitted

HOME = {"label": "home", "line1": "12 Galle Road", "city": "Colombo", "postal_code": "00300"}


def test_addresses_are_added_changed_listed_and_removed(client: FlaskClient) -> None:
    me = register(client)
    made = client.post("/api/auth/me/addresses", json=HOME, headers=me.headers)
    assert (made.status_code, made.json["country"]) == (201, "LK")
    path = f"/api/auth/me/addresses/{made.json['id']}"
    changed = client.patch(path, json={"city": "Kandy", "line2": "2nd floor"}, headers=me.headers)
    assert (changed.json["city"], changed.json["line2"], changed.json["line1"]) == (
        "Kandy",
        "2nd floor",
        HOME["line1"],
    )
    assert client.patch(path, json={"line2": None}, headers=me.headers).json["line2"] is None
    assert client.get(path, headers=me.headers).json["city"] == "Kandy"
    assert len(client.get("/api/auth/me/addresses", headers=me.headers).json["items"]) == 1
    assert client.delete(path, headers=me.headers).status_code == 204
    assert client.get(path, headers=me.headers).status_code == 404


def test_another_users_address_is_not_there(client: FlaskClient) -> None:
    me, other = register(client), register(client, phone="0772222222")
    made = client.post("/api/auth/me/addresses", json=HOME, headers=other.headers).json
    path = f"/api/auth/me/addresses/{made['id']}"
    for method in ("get", "delete"):
        assert getattr(client, method)(path, headers=me.headers).status_code == 404
    assert client.patch(path, json={"city": "Galle"}, headers=me.headers).status_code == 404
    assert client.get(path, headers=other.headers).json["city"] == "Colombo"


def test_an_account_has_so_many_addresses_and_no_more(client: FlaskClient) -> None:
    me = register(client)
    statuses = [
        client.post("/api/auth/me/addresses", json=HOME, headers=me.headers).status_code for _ in range(21)
    ]
    assert statuses == [201] * 20 + [409]


def claim(client: FlaskClient, me, phone: str = "0773333333"):
    return client.post("/api/auth/me/lines", json={"phone": phone, "label": "car"}, headers=me.headers)


def test_a_line_is_the_accounts_once_its_code_is_given(client: FlaskClient) -> None:
    me = register(client)
    line = claim(client, me)
    assert (line.status_code, line.json["phone"], line.json["verified"]) == (201, "+94773333333", False)
    path = f"/api/auth/me/lines/{line.json['id']}"
    assert client.post(f"{path}/request", headers=me.headers).status_code == 202
    event = told("user.phone.verification.requested")
    assert event["phone"] == "+94773333333", "the code goes to the line, not to the account's own number"
    refused = client.post(f"{path}/verify", json={"code": wrong(event["code"])}, headers=me.headers)
    assert refused.json["code"] == "invalid_code"
    done = client.post(f"{path}/verify", json={"code": event["code"]}, headers=me.headers)
    assert done.json["verified"] is True
    assert told("user.updated")["lines"] == ["+94773333333"]
    assert told("user.verified")["what"] == "line"
    assert client.delete(path, headers=me.headers).status_code == 204
    assert told("user.updated")["lines"] == []


def test_a_verified_line_belongs_to_one_account_and_is_nobody_elses_number(client: FlaskClient) -> None:
    me, other = register(client), register(client, phone="0772222222")
    mine, theirs = claim(client, me).json, claim(client, other).json
    for who, line in ((me, mine), (other, theirs)):
        client.post(f"/api/auth/me/lines/{line['id']}/request", headers=who.headers)
    code = emitted("user.phone.verification.requested")[0].data["code"]
    path = f"/api/auth/me/lines/{mine['id']}/verify"
    assert client.post(path, json={"code": code}, headers=me.headers).status_code == 200
    taken = client.post(
        "/api/auth/register",
        json={"phone": "0773333333", "password": "correct horse battery", "name": "Somebody"},
    )
    assert taken.json["code"] == "phone_already_registered"
    assert claim(client, other, "0771234567").json["code"] == "line_taken"
    assert claim(client, me).json["code"] == "line_taken"
    assert login(client, phone="0773333333").status_code == 401, "a line is no login"


def test_another_users_line_is_not_there(client: FlaskClient) -> None:
    me, other = register(client), register(client, phone="0772222222")
    line = claim(client, other).json
    path = f"/api/auth/me/lines/{line['id']}"
    assert client.post(f"{path}/request", headers=me.headers).status_code == 404
    assert client.post(f"{path}/verify", json={"code": "123456"}, headers=me.headers).status_code == 404
    assert client.delete(path, headers=me.headers).status_code == 404
