"""Passwords: what may be one, how it is hashed, changed and reset."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from auth.config import Settings
from auth.models import User
from auth.parts import parts
from auth.passwords import Hashing
from common.db import reading, transaction
from common.errors import ServiceUnavailable
from tests.support.accounts import NIMALI, PASSWORD, login, register, told, work_done, wrong
from tests.support.eventually import eventually
from tests.support.services import emitted

NEW, OTHER = "another good password", "quite another good one"


OWN = [
    "0771234567",
    "+94771234567",
    "077-123 4567",
    "Nimali Perera",
    "nimaliperera",
    "nimali.p@example.lk",
    "nimali.p",
]


def test_common_passwords_and_ones_own_name_number_and_address_are_refused(client: FlaskClient) -> None:
    for password in ("password123", "PassWord123", "aaaaaaaaaaaa", *OWN):
        body = NIMALI | {"email": "nimali.p@example.lk", "password": password}
        answer = client.post("/api/auth/register", json=body)
        assert (answer.status_code, answer.json["code"]) == (422, "weak_password"), password
        assert answer.json["errors"][0]["field"] == "password"
    assert not emitted("user.created")


def test_eight_characters_are_enough_and_seven_are_not(client: FlaskClient) -> None:
    eight = NIMALI | {"password": "k7#Qz!m2"}
    assert (
        client.post("/api/auth/register", json=eight | {"password": eight["password"][:7]}).status_code == 422
    )
    assert client.post("/api/auth/register", json=eight).status_code == 201


def test_a_short_password_and_one_of_a_megabyte_are_refused_before_any_hashing(client: FlaskClient) -> None:
    with work_done() as done:
        for password in ("seven77", "x" * 1_000_000, "x" * 2_000_000):
            answer = client.post("/api/auth/register", json=NIMALI | {"password": password})
            assert answer.status_code in (413, 422)
            assert login(client, password[:1_000_000]).status_code in (401, 422)
    assert done["hash"] == 0
    assert sum(count for what, count in done.items() if what.startswith("verify")) == 1, "the short one"


def test_a_hash_made_with_lower_parameters_is_made_anew_at_sign_in(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = register(client).id
    stronger = parts().settings.model_copy(update={"hash_time_cost": 2})
    strong = Hashing(stronger)
    monkeypatch.setitem(vars(parts()), "hashing", strong)

    def stored() -> str:
        with reading() as session:
            return session.get_one(User, user_id).password_hash

    before = stored()
    assert login(client).status_code == 200
    assert strong.outdated(before)
    assert not strong.outdated(stored())
    assert login(client).status_code == 200


def small_hashing(**changes: object) -> Hashing:
    values = {"database_url": "sqlite:///x", "rabbitmq_url": "amqp://x", "keys_dir": "keys", "hash_slots": 1}
    return Hashing(Settings.model_validate(values | changes))


def test_unless_told_otherwise_hashes_are_argon2id_with_the_parameters_of_owasp() -> None:
    assert small_hashing().hash("a password").startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_only_so_many_requests_wait_for_a_hash_so_that_others_find_a_thread() -> None:
    hashing, gate = small_hashing(web_threads=4), threading.Event()
    with ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(hashing._run, lambda: gate.wait(60)) for _ in range(2)]
        eventually(lambda: hashing._room._value == 0)
        with pytest.raises(ServiceUnavailable) as refusal:
            hashing.hash("one too many")
        gate.set()
        assert all(each.result() for each in waiting)
    assert refusal.value.retry_after
    assert hashing.verify("after that", hashing.hash("after that"))


def test_hashing_stands_back_for_other_requests() -> None:
    niceness = small_hashing()._run(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
    assert niceness > os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_nobody_waits_for_a_hash_longer_than_the_limit() -> None:
    hashing, gate = small_hashing(web_threads=8, hash_wait_s=0.2), threading.Event()
    hashing._pool.submit(gate.wait)
    with pytest.raises(ServiceUnavailable):  # while the gate is still shut
        hashing.hash("too late")
    gate.set()


def changing_meanwhile(monkeypatch: pytest.MonkeyPatch, user_id: str, change: str) -> None:
    """Have the account changed once while a password is being verified."""
    hashing = parts().hashing
    verify, changes = hashing.verify, iter([change])

    def verify_slowly(password: str, stored: str | None) -> bool:
        right = verify(password, stored)
        for each in changes:
            values: dict[str, Any] = {
                "closed": {"active": False},
                "other roles": {"roles": ["agent"]},
                "a stronger hash": {"password_hash": hashing.hash(PASSWORD)},
                "another password": {"password_hash": hashing.hash(OTHER)},
            }[each]
            with transaction() as session:
                session.execute(update(User).where(User.id == user_id).values(**values))
        return right

    monkeypatch.setattr(hashing, "verify", verify_slowly)


@pytest.mark.parametrize("change", ["another password", "closed", "a stronger hash", "other roles"])
def test_what_changes_while_a_password_is_being_verified_counts(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    changing_meanwhile(monkeypatch, register(client).id, change)
    answer = login(client)
    assert answer.status_code == (200 if change in ("a stronger hash", "other roles") else 401)
    if change == "other roles":
        claims = jwt.decode(answer.json["access_token"], options={"verify_signature": False})
        assert claims["roles"] == answer.json["user"]["roles"] == ["agent"]


@pytest.mark.parametrize("change", ["another password", "closed", "a stronger hash"])
def test_a_password_that_was_reset_meanwhile_is_not_changed_by_who_knew_the_old_one(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    me = register(client)
    changing_meanwhile(monkeypatch, me.id, change)
    body = {"current_password": PASSWORD, "new_password": NEW}
    answer = client.post("/api/auth/password/change", json=body, headers=me.headers)
    assert answer.status_code == (204 if change == "a stronger hash" else 401)
    if change == "another password":
        assert login(client, OTHER).status_code == 200


def test_changing_the_password_needs_the_old_one_and_ends_the_other_sessions(client: FlaskClient) -> None:
    me = register(client)
    other = login(client).json
    body = {"current_password": "not it at all", "new_password": NEW}
    refused = client.post("/api/auth/password/change", json=body, headers=me.headers)
    assert (refused.status_code, refused.json["code"]) == (401, "invalid_credentials")

    body["current_password"] = PASSWORD
    assert client.post("/api/auth/password/change", json=body, headers=me.headers).status_code == 204
    assert client.get("/api/auth/me", headers=me.headers).status_code == 200
    assert client.post("/api/auth/refresh", json={"refresh_token": me.refresh}).status_code == 200
    dead = client.post("/api/auth/refresh", json={"refresh_token": other["refresh_token"]})
    assert dead.status_code == 401
    assert login(client).status_code == 401
    assert login(client, NEW).status_code == 200
    assert told("user.password.changed")["reason"] == "changed"
    assert "password" not in str(emitted("user.password.changed")[0].data).replace("password.changed", "")


def test_a_new_password_is_held_to_the_same_rules(client: FlaskClient) -> None:
    me = register(client)
    body = {"current_password": PASSWORD, "new_password": "nimali perera"}
    answer = client.post("/api/auth/password/change", json=body, headers=me.headers)
    assert (answer.json["code"], answer.json["errors"][0]["field"]) == ("weak_password", "new_password")
    assert login(client).status_code == 200


def forgot(client: FlaskClient, **who: str) -> int:
    return client.post("/api/auth/password/forgot", json=who or {"phone": NIMALI["phone"]}).status_code


def reset(client: FlaskClient, code: str, password: str = NEW, phone: str = NIMALI["phone"]):
    body = {"phone": phone, "code": code, "new_password": password}
    return client.post("/api/auth/password/reset", json=body)


def test_a_forgotten_password_is_reset_by_the_code_and_every_session_ends(client: FlaskClient) -> None:
    me = register(client)
    login(client)
    assert forgot(client) == 202
    event = told("user.password.reset.requested")
    assert (event["channel"], event["phone"]) == ("sms", "+94771234567")
    assert reset(client, event["code"]).status_code == 204
    assert len(emitted("session.revoked")) == 2
    assert client.post("/api/auth/refresh", json={"refresh_token": me.refresh}).status_code == 401
    assert login(client).status_code == 401
    assert login(client, NEW).status_code == 200
    assert told("user.password.changed")["reason"] == "reset"
    assert reset(client, event["code"], "and yet another one").json["code"] == "invalid_code"


def test_a_reset_by_email_goes_to_the_email_address(client: FlaskClient) -> None:
    register(client, email="Nimali@Example.LK")
    assert forgot(client, email="nimali@example.lk") == 202
    event = told("user.password.reset.requested")
    assert (event["channel"], event["email"], "phone" in event) == ("email", "nimali@example.lk", False)
    body = {"email": "nimali@example.lk", "code": event["code"], "new_password": NEW}
    assert client.post("/api/auth/password/reset", json=body).status_code == 204


def test_forgot_and_reset_tell_nobody_who_has_an_account(client: FlaskClient) -> None:
    register(client)
    known = client.post("/api/auth/password/forgot", json={"phone": NIMALI["phone"]})
    unknown = client.post("/api/auth/password/forgot", json={"phone": "0770000001"})
    assert (known.status_code, known.data) == (unknown.status_code, unknown.data) == (202, known.data)
    again = client.post("/api/auth/password/forgot", json={"phone": NIMALI["phone"]})
    assert (again.status_code, again.data) == (202, known.data)
    assert len(emitted("user.password.reset.requested")) == 1
    code = wrong(told("user.password.reset.requested")["code"])
    one, other = reset(client, code), reset(client, code, phone="0770000001")
    assert one.status_code == other.status_code == 422
    assert {**one.json, "request_id": ""} == {**other.json, "request_id": ""}


def test_a_weak_new_password_does_not_spend_the_code(client: FlaskClient) -> None:
    register(client)
    forgot(client)
    code = told("user.password.reset.requested")["code"]
    assert reset(client, code, "nimali perera").json["code"] == "weak_password"
    assert reset(client, code).status_code == 204


def test_a_closed_account_gets_no_code(client: FlaskClient) -> None:
    me = register(client)
    client.delete("/api/auth/me", headers=me.headers)
    assert forgot(client) == 202
    assert not emitted("user.password.reset.requested")
