"""What changes how somebody signs in is for who signed in, or showed again who they are, just now."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from auth.models import AuditEntry
from common import clock, ids
from common.db import reading
from tests.support.accounts import PASSWORD, Person, code_of, register, turn_on, wrong

LATER = timedelta(minutes=10, seconds=1)


@pytest.fixture(autouse=True)
def frozen() -> Iterator[None]:
    with clock.frozen(datetime.now(UTC)):
        yield


def prove(client: FlaskClient, me: Person, **proof: str) -> Any:
    body = {"password": PASSWORD} | proof
    return client.post("/api/auth/reauthenticate", json=body, headers=me.headers)


ACTS = [
    ("post", "mfa/totp", None, 200),
    ("delete", "mfa/totp", None, 409),
    ("post", "passkeys/register/options", None, 200),
    ("delete", f"passkeys/{ids.new_id()}", None, 404),
    ("patch", "me", {"email": "nimali@example.lk"}, 200),
    ("post", "me/phone", {"phone": "0773333333"}, 202),
    ("delete", "me", None, 204),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"), ACTS, ids=[f"{act[0]} {act[1][:9]}" for act in ACTS]
)
def test_a_token_alone_changes_nothing_about_signing_in_some_minutes_after_it(
    client: FlaskClient, method: str, path: str, body: dict[str, str] | None, status: int
) -> None:
    me = register(client)
    clock.move(LATER)
    act = getattr(client, method)
    refused = act(f"/api/auth/{path}", json=body, headers=me.headers)
    assert (refused.status_code, refused.json["code"]) == (403, "fresh_proof_required")
    assert client.patch("/api/auth/me", json={"language": "si"}, headers=me.headers).status_code == 200
    assert prove(client, me).status_code == 204
    assert act(f"/api/auth/{path}", json=body, headers=me.headers).status_code == status


def test_refreshing_shows_nothing_about_who_it_is(client: FlaskClient) -> None:
    me = register(client)
    clock.move(LATER)
    again = client.post("/api/auth/refresh", json={"refresh_token": me.refresh}).json
    headers = {"Authorization": f"Bearer {again['access_token']}"}
    assert client.delete("/api/auth/me", headers=headers).json["code"] == "fresh_proof_required"


def test_with_an_app_its_code_is_part_of_the_proof_and_a_recovery_code_will_do(client: FlaskClient) -> None:
    me = register(client)
    secret, recovery = turn_on(client, me)
    clock.move(LATER)
    assert client.delete("/api/auth/mfa/totp", headers=me.headers).json["code"] == "fresh_proof_required"
    for proof, code in (
        ({}, "invalid_mfa_code"),
        ({"code": wrong(code_of(secret))}, "invalid_mfa_code"),
        ({"password": "not it", "code": recovery[0]}, "invalid_credentials"),
    ):
        refused = prove(client, me, **proof)
        assert (refused.status_code, refused.json["code"]) == (401, code)
    assert client.delete("/api/auth/mfa/totp", headers=me.headers).status_code == 403
    assert prove(client, me, code=recovery[0]).status_code == 204, "a wrong password did not spend it"
    assert client.delete("/api/auth/mfa/totp", headers=me.headers).status_code == 204


def test_guessing_the_proof_waits_as_guessing_at_the_door_and_stands_in_the_trail(
    client: FlaskClient,
) -> None:
    me = register(client)
    guesses = [prove(client, me, password=f"guess {n}").status_code for n in range(6)]
    assert guesses == [401] * 5 + [429]
    assert prove(client, me).status_code == 429
    with reading() as session:
        kept = session.scalars(select(AuditEntry.action).where(AuditEntry.user_id == me.id)).all()
    assert kept.count("session.proof.failed") == 5
