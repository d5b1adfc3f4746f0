"""An attacker against four processes of auth on one database: no more tries than against one."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select

from auth.models import AuditEntry
from common.db import db, reading
from tests.support.accounts import PASSWORD, told, wrong
from tests.support.auth_web import Caller, callers, served
from tests.support.postgres import PostgresServer
from tests.support.services import emitted, make_app, postgres_copy

PER_WORKER = 2


@pytest.fixture(scope="module")
def attackers(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Caller]]:
    """Connections to four processes; the database is at hand as theirs is."""
    url, folder = postgres_copy("auth", postgres, tmp_path_factory), tmp_path_factory.mktemp("auth-web")
    settings = {
        "AUTH_DATABASE_URL": url,
        "AUTH_KEYS_DIR": str(folder / "keys"),
        "RABBITMQ_URL": "amqp://127.0.0.1:1/",
        "SRICARE_ENV": "development",
        "AUTH_HASH_TIME_COST": "1",
        "AUTH_HASH_MEMORY_KIB": "8192",
        "AUTH_HASH_WAIT_S": "60",
        "AUTH_LOCK_TIMEOUT_S": "60",
        "AUTH_LOGIN_FIRST_DELAY_S": "900",  # no lockout ends because the machine is slow
    }
    with (
        served(settings, folder) as port,
        make_app("auth", url, folder).app_context(),
        callers(port, PER_WORKER) as found,
    ):
        yield found
        db.engine.dispose()


def register(attackers: list[Caller], phone: str) -> dict[str, Any]:
    body = {"phone": phone, "password": PASSWORD, "name": "Nimali Perera"}
    status, answer = attackers[0].ask("POST", "/api/auth/register", body)
    assert status == 201, answer
    return dict(answer)


def at_once(attackers: list[Caller], path: str, bodies: list[Any]) -> list[int]:
    """The statuses of requests that all connections make at the same time, each from an address of its own."""

    def share(place: int) -> list[int]:
        mine = range(place, len(bodies), len(attackers))
        post = attackers[place].ask
        return [post("POST", path, bodies[n], **{"X-Forwarded-For": f"203.0.113.{n}"})[0] for n in mine]

    with ThreadPoolExecutor(len(attackers)) as threads:
        return [status for shares in threads.map(share, range(len(attackers))) for status in shares]


def test_brute_force_from_many_addresses_gets_five_tries(attackers: list[Caller]) -> None:
    phone = register(attackers, "0771000001")["user"]["phone"]
    assert len({caller.worker for caller in attackers}) == 4
    guesses = [{"phone": phone, "password": f"guess number {n}"} for n in range(48)]
    statuses = at_once(attackers, "/api/auth/login", guesses)
    assert sorted(statuses) == [401] * 5 + [429] * 43
    assert at_once(attackers[:1], "/api/auth/login", [{"phone": phone, "password": PASSWORD}]) == [429]
    with reading() as session:
        kept = session.scalar(select(func.count()).where(AuditEntry.action == "login.failed"))
    assert kept == 5


def test_guessing_a_code_gets_five_tries(attackers: list[Caller]) -> None:
    phone = register(attackers, "0771000002")["user"]["phone"]
    assert at_once(attackers[:1], "/api/auth/password/forgot", [{"phone": phone}]) == [202]
    code = guess = told("user.password.reset.requested")["code"]
    bodies = []
    for _ in range(8):
        guess = wrong(guess)
        bodies.append({"phone": phone, "code": guess, "new_password": "taken over by me"})
    assert set(at_once(attackers, "/api/auth/password/reset", bodies)) == {422}
    assert at_once(attackers[:1], "/api/auth/password/reset", [bodies[0] | {"code": code}]) == [422]
    assert at_once(attackers[:1], "/api/auth/login", [{"phone": phone, "password": PASSWORD}]) == [200]


def test_a_refresh_token_used_by_all_at_once_gives_one_session_at_most(attackers: list[Caller]) -> None:
    answer = register(attackers, "0771000003")
    body = {"refresh_token": answer["refresh_token"]}
    statuses = at_once(attackers, "/api/auth/refresh", [body] * 8)
    assert sorted(statuses) == [200] + [401] * 7
    revoked = [event for event in emitted("session.revoked") if event.subject == answer["user"]["id"]]
    assert [event.data["reason"] for event in revoked] == ["refresh_token_reused"]
