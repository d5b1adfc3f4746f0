"""What an attacker would try, against everything at once: it gets nowhere, and leaves traces."""

import base64
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from auth.models import User
from auth.parts import parts
from common import clock, ids
from common.db import reading
from tests.support.accounts import (
    NIMALI,
    PASSWORD,
    Person,
    login,
    person,
    register,
    staff,
    told,
    work_done,
    wrong,
)
from tests.support.services import emitted

UNKNOWN = "0770000001"


def without_id(answer: Any) -> tuple[int, Any]:
    body = answer.get_json()
    return answer.status_code, {**body, "request_id": "", "instance": ""} if body else None


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("login", {"password": "not the password"}),
        ("password/forgot", {}),
        ("password/reset", {"code": "123456", "new_password": "another good password"}),
    ],
)
def test_enumeration_learns_nothing_from_answers_or_the_work_behind_them(
    client: FlaskClient, path: str, body: dict[str, str]
) -> None:
    register(client, email="nimali@example.lk")
    for known, unknown in (
        ({"phone": NIMALI["phone"]}, {"phone": UNKNOWN}),
        ({"email": "nimali@example.lk"}, {"email": "nobody@example.lk"}),
    ):
        with work_done() as one:
            answer = client.post(f"/api/auth/{path}", json=known | body)
        with work_done() as other:
            stranger = client.post(f"/api/auth/{path}", json=unknown | body)
        assert without_id(answer) == without_id(stranger)
        assert not other - one
        of_the_message = (
            {"INSERT outbox", "WITH outbox", "SELECT "} if path == "password/forgot" else set()
        )  # to the owner
        assert set(one - other) <= of_the_message


def test_a_forged_address_does_not_get_around_the_limits_of_the_real_one(
    client: FlaskClient, another: Callable[..., Flask]
) -> None:
    app = another(ip_per_minute=5)

    def ask(n: int, peer: str) -> int:
        return (
            app.test_client()
            .post(
                "/api/auth/password/forgot",
                json={"phone": f"07700000{n:02}"},
                headers={
                    "X-Forwarded-For": f"198.51.100.{n}, 203.0.113.9"
                    if peer == "127.0.0.1"
                    else f"198.51.100.{n}"
                },
                environ_base={"REMOTE_ADDR": peer},
            )
            .status_code
        )

    with clock.frozen(datetime.now(UTC)):
        assert [ask(n, "127.0.0.1") for n in range(7)] == [202] * 5 + [429] * 2, "through the gateway"
        assert [ask(n, "203.0.113.50") for n in range(7)] == [202] * 5 + [429] * 2, "past it"


def test_guessing_codes_in_parallel_gets_five_tries_and_the_code_is_dead(
    client: FlaskClient, app: Flask
) -> None:
    register(client)
    client.post("/api/auth/password/forgot", json={"phone": NIMALI["phone"]})
    code = told("user.password.reset.requested")["code"]
    vars(parts())["settings"] = parts().settings.model_copy(update={"web_threads": 64})

    def guess(n: int) -> int:
        guessed = f"{(int(code) + 1 + n) % 10**6:06}"
        body = {"phone": NIMALI["phone"], "code": guessed, "new_password": "taken over by me"}
        return app.test_client().post("/api/auth/password/reset", json=body).status_code

    with ThreadPoolExecutor(2) as threads:
        assert set(threads.map(guess, range(12))) == {422}
    body = {"phone": NIMALI["phone"], "code": code, "new_password": "taken over by me"}
    assert client.post("/api/auth/password/reset", json=body).json["code"] == "invalid_code"
    assert login(client).status_code == 200


def test_a_stolen_refresh_token_is_worth_nothing_after_its_use_and_betrays_the_thief(
    client: FlaskClient,
) -> None:
    me = register(client)
    owner = client.post("/api/auth/refresh", json={"refresh_token": me.refresh}).json
    thief = client.post(
        "/api/auth/refresh", json={"refresh_token": me.refresh}, headers={"User-Agent": "thief"}
    )
    assert thief.json["code"] == "refresh_token_reused"
    assert "access_token" not in thief.text
    assert client.post("/api/auth/refresh", json={"refresh_token": owner["refresh_token"]}).status_code == 401
    assert told("session.revoked")["reason"] == "refresh_token_reused"


def claims_of(me: Person, **changes: Any) -> dict[str, Any]:
    return {**jwt.decode(me.access, options={"verify_signature": False}), **changes}


def test_forged_tokens_are_refused(client: FlaskClient) -> None:
    me = register(client)
    kid = jwt.get_unverified_header(me.access)["kid"]
    public = client.get("/api/auth/.well-known/jwks.json").json["keys"][0]
    pem = jwt.PyJWK(public).key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    mine = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    head, body, signature = me.access.split(".")
    admin = base64.urlsafe_b64encode(json.dumps(claims_of(me, roles=["admin"])).encode()).decode().rstrip("=")
    hs256 = jwt.utils.base64url_encode(
        json.dumps({"alg": "HS256", "kid": kid, "typ": "JWT"}).encode()
    ).decode()
    mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    forged = {
        "another body": f"{head}.{admin}.{signature}",
        "no signature": f"{head}.{body}.",
        "alg none": jwt.encode(claims_of(me), None, algorithm="none", headers={"kid": kid}),
        "HS256 with the public key": f"{hs256}.{admin}."
        + jwt.utils.base64url_encode(
            __import__("hmac").digest(pem, f"{hs256}.{admin}".encode(), "sha256")
        ).decode(),
        "own key": jwt.encode(claims_of(me, roles=["admin"]), mine, algorithm="RS256", headers={"kid": kid}),
        "own kid": jwt.encode(claims_of(me), mine, algorithm="RS256", headers={"kid": "mine"}),
        "own jku": jwt.encode(
            claims_of(me), mine, algorithm="RS256", headers={"kid": kid, "jku": "http://evil/"}
        ),
        "huge": me.access + "A" * 100_000,
        "nonsense": "a.b.c",
    }
    assert mac is not None
    for name, token in forged.items():
        answer = client.get("/api/auth/me", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.json["code"]) == (401, "unauthorized"), name
    assert client.get("/api/auth/me", headers=me.headers).status_code == 200


def test_a_refresh_or_mfa_token_opens_no_door_meant_for_another(client: FlaskClient) -> None:
    me = register(client)
    for token in (me.refresh, f"{me.access}x"):
        assert client.get("/api/auth/me", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    for body in ({"refresh_token": me.access[:200]}, {"refresh_token": "x"}):
        assert client.post("/api/auth/refresh", json=body).json["code"] == "invalid_refresh_token"
    answer = client.post("/api/auth/login/mfa", json={"mfa_token": me.refresh, "code": "123456"})
    assert answer.json["code"] == "invalid_mfa_token"


def test_no_field_of_any_request_gives_rights(client: FlaskClient) -> None:
    me = register(client)
    for changes in ({"roles": ["admin"]}, {"active": True}, {"phone_verified": True}, {"id": ids.new_id()}):
        assert client.patch("/api/auth/me", json=changes, headers=me.headers).status_code == 422
        body = {"phone": "0778888888", "password": PASSWORD, "name": "X"} | changes
        assert client.post("/api/auth/register", json=body).status_code == 422
    for role in ("customer", "agent"):
        who = me if role == "customer" else staff(client, "agent")
        body = {"roles": ["admin"]}
        assert (
            client.patch(f"/api/auth/admin/users/{who.id}", json=body, headers=who.headers).status_code == 403
        )
    with reading() as session:
        assert {"admin"} not in [set(roles) for roles in session.scalars(select(User.roles))]


def test_another_customers_things_are_not_there(client: FlaskClient) -> None:
    me, other = register(client), register(client, phone="0772222222")
    theirs = client.get("/api/auth/sessions", headers=other.headers).json["items"][0]["id"]
    address = {"line1": "1", "city": "Galle", "postal_code": "80000"}
    place = client.post("/api/auth/me/addresses", json=address, headers=other.headers).json["id"]
    for path in (
        f"sessions/{theirs}",
        f"me/addresses/{place}",
        f"passkeys/{ids.new_id()}",
        f"me/lines/{place}",
    ):
        assert client.delete(f"/api/auth/{path}", headers=me.headers).status_code == 404


def test_an_idempotency_key_of_another_body_or_caller_gives_no_tokens_away(client: FlaskClient) -> None:
    register(client)
    key = {"Idempotency-Key": "guessable"}
    first = client.post("/api/auth/login", json={"phone": NIMALI["phone"], "password": PASSWORD}, headers=key)
    assert first.status_code == 200
    thief = client.post("/api/auth/login", json={"phone": NIMALI["phone"], "password": "guess"}, headers=key)
    assert (thief.status_code, thief.json["code"]) == (422, "idempotency_key_reused")
    again = client.post("/api/auth/login", json={"phone": NIMALI["phone"], "password": PASSWORD}, headers=key)
    assert (again.data, again.headers["Idempotent-Replayed"]) == (first.data, "true"), (
        "its own caller's answer"
    )


BAD = [
    {"phone": {"a": 1}}, {"phone": 771234567}, {"phone": ["0771234567"]}, {"phone": None}, {"phone": "0" * 41},
    {"phone": "077\u0000"}, {"phone": "12"}, {"phone": "07712345678901"}, {"name": 7}, {"name": ""},
    {"name": "a\u0000"}, {"name": "\ud800"}, {"name": "x" * 201}, {"email": "no"}, {"email": "a@b@c.d"},
    {"email": "a b@c.lk"},
    {"email": "@.lk"}, {"email": {}}, {"password": 12345678}, {"password": "short"}, {"password": "x" * 257},
    {"password": ""}, {"language": "fr"}, {"language": 1},
]  # fmt: skip


def test_bad_fields_are_refused_by_name_and_nothing_is_written(client: FlaskClient) -> None:
    for changes in BAD:
        body = json.dumps(NIMALI | changes)
        answer = client.post("/api/auth/register", data=body, content_type="application/json")
        assert answer.status_code in (400, 422), (changes, answer.text)
        assert answer.content_type == "application/problem+json"
        if answer.status_code == 422:
            assert answer.json["errors"][0]["field"] == next(iter(changes))
    assert not emitted("user.created")


def test_names_of_all_scripts_are_kept_as_they_are(client: FlaskClient) -> None:
    names = ["නිමාලි පෙරේරා", "நிமாலி", "نيمالي", "Nimali 🌺", "O'Brien-Śmith", "\u202eilamiN"]
    for number, name in enumerate(names):
        me = register(client, phone=f"07710000{number:02}", name=name)
        assert client.get("/api/auth/me", headers=me.headers).json["name"] == name
        assert told("user.created")["name"] == name


def test_every_usual_form_of_a_number_is_the_same_account(client: FlaskClient) -> None:
    register(client)
    forms = ["0771234567", "771234567", "+94771234567", "0094771234567", "077-123-4567", "+94 (77) 123 4567"]
    for number in forms:
        assert login(client, phone=number).json["user"]["phone"] == "+94771234567", number


def test_a_foreign_number_is_a_number(client: FlaskClient) -> None:
    assert (
        person(
            client.post(
                "/api/auth/register", json={"phone": "+44 20 7946 0958", "password": PASSWORD, "name": "Ann"}
            ).json
        ).phone
        == "+442079460958"
    )


def test_what_is_no_json_object_is_refused(client: FlaskClient) -> None:
    for path in ("login", "login/mfa", "refresh", "password/forgot", "password/reset", "register"):
        for data in (b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"phone":' * 2000, b"{}"):
            answer = client.post(f"/api/auth/{path}", data=data, content_type="application/json")
            assert answer.status_code in (400, 422), (path, data[:20], answer.text)
        assert client.post(f"/api/auth/{path}", data=b"a=1", content_type="text/plain").status_code == 415


def test_a_code_replayed_ten_times_at_once_resets_once(client: FlaskClient, app: Flask) -> None:
    register(client)
    client.post("/api/auth/password/forgot", json={"phone": NIMALI["phone"]})
    code = told("user.password.reset.requested")["code"]
    assert wrong(code) != code

    def reset(n: int) -> int:
        body = {"phone": NIMALI["phone"], "code": code, "new_password": f"a new password {n}"}
        return app.test_client().post("/api/auth/password/reset", json=body).status_code

    with ThreadPoolExecutor(2) as threads:
        statuses = list(threads.map(reset, range(6)))
    assert sorted(statuses) == [204] + [422] * 5
    assert len(emitted("user.password.changed")) == 1
