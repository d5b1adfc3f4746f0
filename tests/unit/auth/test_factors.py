"""The second factor: an authenticator app with recovery codes."""

import base64
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, update

from auth.models import RecoveryCode, Totp, User
from auth.routes.base import SignIn
from common import clock
from common.db import reading, transaction
from tests.support.accounts import PASSWORD, code_of, login, register, turn_on, wrong


def finish(client: FlaskClient, token: str, code: str):
    return client.post("/api/auth/login/mfa", json={"mfa_token": token, "code": code})


@pytest.fixture(autouse=True)
def frozen():
    with clock.frozen(datetime.now(UTC)):
        yield


def test_with_an_app_a_password_alone_gives_no_tokens(client: FlaskClient) -> None:
    secret, _ = turn_on(client, register(client))
    asked = login(client)
    assert asked.json["mfa_required"] is True
    assert "access_token" not in asked.json
    clock.move(timedelta(seconds=30))
    done = finish(client, asked.json["mfa_token"], code_of(secret))
    assert done.json["access_token"]
    assert finish(client, asked.json["mfa_token"], code_of(secret)).json["code"] == "invalid_mfa_token"


def test_the_uri_is_what_apps_scan_and_the_secret_rests_sealed(client: FlaskClient) -> None:
    me = register(client)
    made = client.post("/api/auth/mfa/totp", headers=me.headers).json
    assert made["otpauth_uri"].startswith("otpauth://totp/Sri-Care:")
    assert made["secret"] in made["otpauth_uri"]
    with reading() as session:
        assert base64.b32decode(made["secret"]) not in session.scalars(select(Totp)).one().sealed_secret
    assert login(client).json["access_token"], "not in force before it is confirmed"


def test_a_code_of_the_app_is_good_once(client: FlaskClient) -> None:
    secret, _ = turn_on(client, register(client))
    clock.move(timedelta(seconds=60))
    code = code_of(secret)
    assert finish(client, login(client).json["mfa_token"], code).status_code == 200
    replayed = finish(client, login(client).json["mfa_token"], code)
    assert (replayed.status_code, replayed.json["code"]) == (401, "invalid_mfa_code")


def test_a_recovery_code_stands_in_once_however_it_is_written(client: FlaskClient) -> None:
    _, codes = turn_on(client, register(client))
    assert len(set(codes)) == 10
    token = login(client).json["mfa_token"]
    assert finish(client, token, codes[0].upper().replace("-", "")).status_code == 200
    token = login(client).json["mfa_token"]
    assert finish(client, token, codes[0]).status_code == 401
    assert finish(client, token, codes[1]).status_code == 200
    with reading() as session:
        assert not {row.hash for row in session.scalars(select(RecoveryCode))} & set(codes)


def test_guessing_the_second_factor_ends_the_sign_in_and_then_waits(client: FlaskClient) -> None:
    secret, _ = turn_on(client, register(client))
    token = login(client).json["mfa_token"]
    clock.move(timedelta(seconds=30))
    guesses = [finish(client, token, wrong(code_of(secret))).status_code for _ in range(6)]
    assert guesses == [401] * 5 + [429]
    token = login(client).json["mfa_token"]
    assert finish(client, token, code_of(secret)).status_code == 429, "a new challenge brings no new tries"
    clock.move(timedelta(seconds=31))
    assert finish(client, token, code_of(secret)).status_code == 200


def test_a_sign_in_waits_five_minutes_for_its_second_factor(client: FlaskClient) -> None:
    secret, _ = turn_on(client, register(client))
    token = login(client).json["mfa_token"]
    clock.move(timedelta(minutes=5, seconds=1))
    assert finish(client, token, code_of(secret)).json["code"] == "invalid_mfa_token"


def test_rights_that_are_taken_away_during_the_second_factor_are_not_in_the_token(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, _ = turn_on(client, register(client))
    token, sign_in = login(client).json["mfa_token"], SignIn.of

    def then_others(user_id: str, roles: list[str]) -> SignIn:
        signed = sign_in(user_id, roles)
        with transaction() as session:
            session.execute(update(User).where(User.id == user_id).values(roles=["agent"]))
        return signed

    monkeypatch.setattr(SignIn, "of", then_others)
    clock.move(timedelta(seconds=30))
    answer = finish(client, token, code_of(secret))
    claims = jwt.decode(answer.json["access_token"], options={"verify_signature": False})
    assert claims["roles"] == answer.json["user"]["roles"] == ["agent"]


def test_a_sign_in_that_waits_for_its_second_factor_dies_with_its_password(client: FlaskClient) -> None:
    me = register(client)
    secret, _ = turn_on(client, me)
    token = login(client).json["mfa_token"]
    body = {"current_password": PASSWORD, "new_password": "another good password"}
    assert client.post("/api/auth/password/change", json=body, headers=me.headers).status_code == 204
    clock.move(timedelta(seconds=30))
    assert finish(client, token, code_of(secret)).json["code"] == "invalid_mfa_token"


def test_it_is_turned_off_again_with_its_recovery_codes(client: FlaskClient) -> None:
    me = register(client)
    turn_on(client, me)
    assert client.post("/api/auth/mfa/totp", headers=me.headers).json["code"] == "mfa_already_on"
    assert client.delete("/api/auth/mfa/totp", headers=me.headers).status_code == 204
    assert client.delete("/api/auth/mfa/totp", headers=me.headers).json["code"] == "mfa_not_on"
    assert login(client).json["access_token"]
    with reading() as session:
        assert session.scalars(select(RecoveryCode)).all() == []


def test_a_wrong_code_confirms_nothing(client: FlaskClient) -> None:
    me = register(client)
    assert (
        client.post("/api/auth/mfa/totp/confirm", json={"code": "123456"}, headers=me.headers).status_code
        == 409
    )
    secret = client.post("/api/auth/mfa/totp", headers=me.headers).json["secret"]
    body = {"code": wrong(code_of(secret))}
    assert (
        client.post("/api/auth/mfa/totp/confirm", json=body, headers=me.headers).json["code"]
        == "invalid_code"
    )
    assert login(client).json["access_token"]
