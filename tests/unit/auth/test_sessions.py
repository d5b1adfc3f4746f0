"""Registration, sign-in and the life of a session."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import jwt
from flask import Flask
from flask.testing import FlaskClient

from auth.models import User
from common import clock
from common.db import reading
from tests.support.eventually import eventually
from tests.support.services import emitted

NIMALI = {"phone": "0771234567", "password": "correct horse", "name": "Nimali"}
LOGIN = {"phone": NIMALI["phone"], "password": NIMALI["password"]}


def register(client: FlaskClient, **changes: str) -> dict:
    answer = client.post("/api/auth/register", json=NIMALI | changes)
    assert answer.status_code == 201, answer.text
    return answer.json


def test_registering_tells_the_platform_once_with_the_number_in_e164(client: FlaskClient) -> None:
    tokens = register(client)
    assert tokens["user"]["phone"] == "+94771234567"
    (event,) = emitted("user.created")
    assert event.subject == tokens["user"]["id"]
    assert event.data["phone"] == "+94771234567"


def test_one_account_per_number_in_whatever_form_it_comes(client: FlaskClient) -> None:
    register(client)
    again = client.post("/api/auth/register", json=NIMALI | {"phone": "+94 77 123 4567"})
    assert (again.status_code, again.json["code"]) == (409, "phone_already_registered")
    assert len(emitted("user.created")) == 1


def test_a_wrong_password_and_an_unknown_number_get_the_same_answer(client: FlaskClient) -> None:
    register(client)
    wrong = client.post("/api/auth/login", json={"phone": NIMALI["phone"], "password": "wrong horse"})
    unknown = client.post("/api/auth/login", json={"phone": "0770000001", "password": "wrong horse"})
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json["code"] == unknown.json["code"] == "invalid_credentials"
    assert wrong.json["detail"] == unknown.json["detail"]


def test_a_lost_refresh_answer_can_be_fetched_again_by_the_same_client(client: FlaskClient) -> None:
    first = register(client)["refresh_token"]
    once = client.post("/api/auth/refresh", json={"refresh_token": first})
    again = client.post("/api/auth/refresh", json={"refresh_token": first})
    assert once.status_code == again.status_code == 200
    assert once.json["refresh_token"] == again.json["refresh_token"] != first


def test_a_spent_refresh_token_is_reuse_after_ten_seconds_by_the_same_client_too(client: FlaskClient) -> None:
    with clock.frozen(datetime.now(UTC)):
        first = register(client)["refresh_token"]
        second = client.post("/api/auth/refresh", json={"refresh_token": first}).json["refresh_token"]
        clock.move(timedelta(seconds=10))
        lost = client.post("/api/auth/refresh", json={"refresh_token": first})
        assert lost.json["refresh_token"] == second
        clock.move(timedelta(seconds=1))
        late = client.post("/api/auth/refresh", json={"refresh_token": first})
        assert late.json["code"] == "refresh_token_reused"
        assert client.post("/api/auth/refresh", json={"refresh_token": second}).status_code == 401


def test_an_access_token_is_good_for_a_quarter_of_an_hour_a_refresh_token_for_thirty_days(
    client: FlaskClient,
) -> None:
    with clock.frozen(datetime.now(UTC)):
        first = register(client)
        assert first["expires_in"] == 900
        claims = jwt.decode(first["access_token"], options={"verify_signature": False})
        assert claims["exp"] - claims["iat"] == 900
        clock.move(timedelta(days=30, seconds=-1))
        last = client.post("/api/auth/refresh", json={"refresh_token": first["refresh_token"]})
        assert last.status_code == 200
        clock.move(timedelta(days=30))
        late = client.post("/api/auth/refresh", json={"refresh_token": last.json["refresh_token"]})
        assert (late.status_code, late.json["code"]) == (401, "invalid_refresh_token")


def test_a_process_that_starts_later_refuses_what_was_revoked_before(client: FlaskClient, another) -> None:
    me = register(client)
    headers = {"Authorization": f"Bearer {me['access_token']}"}
    assert client.post("/api/auth/logout", headers=headers).status_code == 204
    assert another().test_client().get("/api/auth/me", headers=headers).status_code == 401


def test_a_spent_refresh_token_from_another_client_ends_the_session(client: FlaskClient) -> None:
    first = register(client)["refresh_token"]
    second = client.post("/api/auth/refresh", json={"refresh_token": first}).json["refresh_token"]
    thief = client.post("/api/auth/refresh", json={"refresh_token": first}, headers={"User-Agent": "thief"})
    assert (thief.status_code, thief.json["code"]) == (401, "refresh_token_reused")
    owner = client.post("/api/auth/refresh", json={"refresh_token": second})
    assert (owner.status_code, owner.json["code"]) == (401, "invalid_refresh_token")
    assert [event.data["reason"] for event in emitted("session.revoked")] == ["refresh_token_reused"]


def test_a_customer_cannot_give_itself_a_role(client: FlaskClient) -> None:
    headers = {"Authorization": f"Bearer {register(client)['access_token']}"}
    answer = client.patch("/api/auth/me", json={"roles": ["admin"]}, headers=headers)
    assert answer.status_code == 422
    assert client.get("/api/auth/me", headers=headers).json["roles"] == ["customer"]


def test_ten_clients_with_one_refresh_token_get_one_successor_or_end_the_session(
    client: FlaskClient, app: Flask
) -> None:
    first = register(client)["refresh_token"]
    with clock.frozen(datetime.now(UTC)), ThreadPoolExecutor(10) as threads:
        same = list(threads.map(lambda _: _refresh(app, first, "one device"), range(10)))
    assert {answer.status_code for answer in same} == {200}
    assert len({answer.json["refresh_token"] for answer in same}) == 1

    successor = same[0].json["refresh_token"]
    with ThreadPoolExecutor(10) as threads:
        many = list(threads.map(lambda n: _refresh(app, successor, f"device {n}"), range(10)))
    assert sum(answer.status_code == 200 for answer in many) == 1
    assert len(emitted("session.revoked")) == 1
    winner = next(answer for answer in many if answer.status_code == 200)
    assert _refresh(app, winner.json["refresh_token"], "anyone").status_code == 401


def _refresh(app: Flask, token: str, agent: str):
    return app.test_client().post(
        "/api/auth/refresh", json={"refresh_token": token}, headers={"User-Agent": agent}
    )


def test_sessions_are_listed_and_ended_one_by_one_or_all(client: FlaskClient) -> None:
    one, two = register(client), client.post("/api/auth/login", json=LOGIN).json
    headers = {"Authorization": f"Bearer {one['access_token']}"}
    items = client.get("/api/auth/sessions", headers=headers).json["items"]
    assert len(items) == 2
    assert client.delete(f"/api/auth/sessions/{items[0]['id']}", headers=headers).status_code == 204
    assert client.delete(f"/api/auth/sessions/{items[0]['id']}", headers=headers).status_code == 404
    assert client.post("/api/auth/refresh", json={"refresh_token": two["refresh_token"]}).status_code == 401
    assert client.post("/api/auth/logout-all", headers=headers).status_code == 204
    assert len(emitted("session.revoked")) == 2
    assert client.post("/api/auth/refresh", json={"refresh_token": one["refresh_token"]}).status_code == 401


def test_another_users_session_is_not_there(client: FlaskClient) -> None:
    mine = register(client)
    other = register(client, phone="0772222222")
    headers = {"Authorization": f"Bearer {mine['access_token']}"}
    theirs = {"Authorization": f"Bearer {other['access_token']}"}
    session_id = client.get("/api/auth/sessions", headers=theirs).json["items"][0]["id"]
    assert client.delete(f"/api/auth/sessions/{session_id}", headers=headers).status_code == 404


def test_a_closed_account_cannot_sign_in_and_its_tokens_are_dead(client: FlaskClient) -> None:
    me = register(client)
    headers = {"Authorization": f"Bearer {me['access_token']}"}
    assert client.delete("/api/auth/me", headers=headers).status_code == 204
    assert client.post("/api/auth/login", json=LOGIN).json["code"] == "invalid_credentials"
    assert client.post("/api/auth/refresh", json={"refresh_token": me["refresh_token"]}).status_code == 401
    assert len(emitted("user.deactivated")) == 1
    eventually(lambda: client.get("/api/auth/me", headers=headers).status_code == 401, within=2)


def test_a_closed_accounts_number_is_its_next_owners_at_once_and_nothing_of_the_account_is(
    client: FlaskClient,
) -> None:
    me = register(client, email="nimali@example.lk")
    headers = {"Authorization": f"Bearer {me['access_token']}"}
    client.post("/api/auth/password/forgot", json={"phone": NIMALI["phone"]})
    code = emitted("user.password.reset.requested")[0].data["code"]
    assert client.delete("/api/auth/me", headers=headers).status_code == 204
    heir = register(client, password="of the next owner", email="nimali@example.lk")
    assert heir["user"]["id"] != me["user"]["id"]
    assert client.post("/api/auth/login", json=LOGIN).status_code == 401, "the old password"
    body = {"phone": NIMALI["phone"], "code": code, "new_password": "of the one before"}
    assert client.post("/api/auth/password/reset", json=body).json["code"] == "invalid_code"
    assert client.post("/api/auth/refresh", json={"refresh_token": me["refresh_token"]}).status_code == 401
    assert client.post("/api/auth/login", json=LOGIN | {"password": "of the next owner"}).status_code == 200
    with reading() as session:
        old = session.get_one(User, me["user"]["id"])
    assert (old.released_phone, old.released_email) == ("+94771234567", "nimali@example.lk")


def test_a_new_email_address_is_unverified_and_belongs_to_one_account(client: FlaskClient) -> None:
    me, other = register(client), register(client, phone="0772222222", email="taken@example.lk")
    headers = {"Authorization": f"Bearer {me['access_token']}"}
    taken = client.patch("/api/auth/me", json={"email": "TAKEN@example.lk"}, headers=headers)
    assert (taken.status_code, taken.json["code"]) == (409, "email_already_registered")
    changed = client.patch(
        "/api/auth/me", json={"email": "new@example.lk", "language": "ta"}, headers=headers
    )
    assert (changed.json["email"], changed.json["email_verified"]) == ("new@example.lk", False)
    assert changed.json["language"] == "ta"
    assert emitted("user.updated")[-1].data["changed"] == ["email", "language"]
    assert other["user"]["email"] == "taken@example.lk"
