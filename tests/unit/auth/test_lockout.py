"""Lockout and limits: counted for all workers together, before the attempt is made, known account or not."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import fakeredis
import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from auth import limits
from auth.config import Settings
from auth.errors import TooManyAttempts
from auth.limits import Limit, Limiter
from auth.models import Attempts, AuditEntry
from auth.parts import parts
from common import clock
from common.db import reading
from tests.support.accounts import NIMALI, PASSWORD, login, register, told, work_done
from tests.support.services import emitted

Another = Callable[..., Flask]

UNKNOWN = "0770000001"


@pytest.fixture(autouse=True)
def frozen() -> Iterator[None]:
    """No lockout ends because the machine is slow."""
    with clock.frozen(datetime.now(UTC)):
        yield


def test_five_wrong_passwords_lock_out_even_the_right_one_and_tell_the_owner(client: FlaskClient) -> None:
    me = register(client)
    assert [login(client, "not it").status_code for _ in range(5)] == [401] * 5
    locked = login(client)
    assert (locked.status_code, locked.json["code"]) == (429, "too_many_attempts")
    assert 1 <= int(locked.headers["Retry-After"]) <= 30
    assert [event.subject for event in emitted("user.locked_out")] == [me.id]
    assert told("audit.compliance.alert")["pattern"] == "many_failed_logins"


def test_the_delay_grows_and_a_success_ends_it(client: FlaskClient) -> None:
    register(client)
    with clock.frozen(datetime.now(UTC)):
        for _ in range(5):
            login(client, "not it")
        waits = []
        for _ in range(8):
            refused = login(client, "not it")
            assert refused.status_code == 429
            waits.append(int(refused.headers["Retry-After"]))
            clock.move(timedelta(seconds=waits[-1] + 1))
            assert login(client, "not it").status_code == 401
        assert waits == [30, 60, 120, 240, 480, 900, 900, 900]
        clock.move(timedelta(seconds=901))
        assert login(client).status_code == 200
        assert [login(client, "not it").status_code for _ in range(5)] == [401] * 5
        assert len(emitted("user.locked_out")) == 2


def test_an_unknown_number_is_locked_out_in_the_same_words(client: FlaskClient) -> None:
    register(client)
    for _ in range(5):
        one, other = login(client, "not it"), login(client, "not it", UNKNOWN)
        assert {**one.json, "request_id": ""} == {**other.json, "request_id": ""}
    one, other = login(client, "not it"), login(client, "not it", UNKNOWN)
    assert one.status_code == other.status_code == 429
    assert {**one.json, "request_id": ""} == {**other.json, "request_id": ""}
    assert len(emitted("user.locked_out")) == 1


def test_a_known_and_an_unknown_number_cost_the_same_work(client: FlaskClient) -> None:
    register(client)
    with work_done() as known:
        login(client, "not it")
    with work_done() as unknown:
        login(client, "not it", UNKNOWN)
    assert known == unknown
    assert sum(count for what, count in known.items() if what.startswith("verify $argon2id$")) == 1


def by_email(client: FlaskClient, password: str, email: str = "nimali@example.lk") -> Any:
    return client.post("/api/auth/login", json={"email": email, "password": password})


def test_number_and_address_of_one_account_share_its_tries_and_do_not_show_it(client: FlaskClient) -> None:
    me = register(client, email="nimali@example.lk")
    guesses = [login(client, "not it") for _ in range(3)] + [by_email(client, "not it") for _ in range(2)]
    assert [answer.status_code for answer in guesses] == [401] * 5
    assert [event.subject for event in emitted("user.locked_out")] == [me.id]
    with work_done() as known:
        locked = by_email(client, PASSWORD)
    by_email(client, "not it", "nobody@example.lk")
    by_email(client, "not it", "nobody@example.lk")
    with work_done() as unknown:
        stranger = by_email(client, "not it", "nobody@example.lk")
    assert (locked.status_code, locked.json["code"]) == (401, "invalid_credentials"), "not even the right one"
    assert {**locked.json, "request_id": ""} == {**stranger.json, "request_id": ""}
    assert known == unknown
    clock.move(timedelta(seconds=31))
    assert by_email(client, PASSWORD).status_code == 200
    assert login(client).status_code == 200


def test_a_reset_forgets_the_attempts_at_the_account_by_all_its_names(client: FlaskClient) -> None:
    register(client, email="nimali@example.lk")
    for _ in range(5):
        by_email(client, "not it")
    client.post("/api/auth/password/forgot", json={"phone": NIMALI["phone"]})
    code = told("user.password.reset.requested")["code"]
    body = {"phone": NIMALI["phone"], "code": code, "new_password": "another good password"}
    assert client.post("/api/auth/password/reset", json=body).status_code == 204
    assert by_email(client, "another good password").status_code == 200


def test_a_burst_over_two_workers_gets_no_more_tries_than_one_after_the_other(
    client: FlaskClient, another: Another
) -> None:
    register(client)
    workers = [another(web_threads=32) for _ in range(2)]

    def guess(number: int) -> int:
        worker = workers[number % 2]
        return login(worker.test_client(), f"guess number {number}").status_code

    with ThreadPoolExecutor(12) as threads:
        statuses = list(threads.map(guess, range(24)))
    assert statuses.count(401) == 5
    assert statuses.count(429) == 19


def test_a_lockout_survives_a_restart(client: FlaskClient, another: Another) -> None:
    register(client)
    for _ in range(5):
        login(client, "not it")
    restarted = another()
    assert login(restarted.test_client()).status_code == 429


def test_one_address_that_fails_at_many_accounts_waits(client: FlaskClient, another: Another) -> None:
    app = another(ip_free_failures=6)
    attacker = [login(app.test_client(), "not it", f"07700000{n:02}", "203.0.113.9") for n in range(10)]
    assert [answer.status_code for answer in attacker] == [401] * 6 + [429] * 4
    (alert,) = emitted("audit.compliance.alert")
    assert alert.data["pattern"] == "many_failed_logins"
    assert alert.data["details"] == {"address": "203.0.113.9", "failures": 6}
    register(client)
    assert login(app.test_client(), ip="203.0.113.10").status_code == 200


def test_many_customers_behind_one_address_sign_in_without_waiting(
    client: FlaskClient, another: Another
) -> None:
    register(client)
    app = another(ip_free_failures=3)
    assert {login(app.test_client(), ip="203.0.113.9").status_code for _ in range(8)} == {200}


def test_one_address_may_ask_so_often_a_minute(client: FlaskClient, another: Another) -> None:
    app = another(ip_per_minute=4)
    with clock.frozen(datetime.now(UTC)):
        asked = [
            app.test_client().post("/api/auth/password/forgot", json={"phone": f"07700000{n:02}"}).status_code
            for n in range(6)
        ]
        assert asked == [202] * 4 + [429] * 2
        clock.move(timedelta(seconds=61))
        assert app.test_client().post("/api/auth/passkeys/login/options").status_code == 200


def test_development_loosens_what_counts_addresses_and_nothing_else() -> None:
    values = {"database_url": "sqlite:///x", "rabbitmq_url": "amqp://x", "keys_dir": "k"}
    production, development = Settings(**values), Settings(**values, environment="development")
    assert production.per_ip("ip_per_minute") < 100
    assert development.per_ip("ip_per_minute") == development.per_ip("ip_free_failures") == 1000
    assert production.login_free_attempts == development.login_free_attempts
    assert Settings(**values, environment="development", ip_per_minute=7).per_ip("ip_per_minute") == 7


def test_counters_hold_no_numbers_and_the_trail_holds_every_failure(client: FlaskClient) -> None:
    me = register(client)
    login(client, "not it")
    login(client, "not it", UNKNOWN)
    with reading() as session:
        keys = session.scalars(select(Attempts.key)).all()
        failed = session.scalars(select(AuditEntry).where(AuditEntry.action == "login.failed")).all()
    assert not any("771234567" in key for key in keys)
    assert [entry.user_id for entry in failed] == [me.id, ""]
    assert failed[0].ip == "127.0.0.1"


def test_attempts_that_are_counted_while_old_ones_are_forgotten_stay(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter, gone, back = parts().limiter, PLAIN.claim("gone"), PLAIN.claim("back")
    limiter.admit(gone, back)
    clock.move(timedelta(seconds=61))
    write = limits.transaction

    def after_another() -> AbstractContextManager[Any]:
        monkeypatch.undo()
        limiter.admit(back)
        return write()

    monkeypatch.setattr(limits, "transaction", after_another)
    assert not limits.prune()
    with reading() as session:
        assert session.scalars(select(Attempts.key)).all() == [back.key]
    assert allowed(limiter, PLAIN, subject="back") == 2


@pytest.mark.parametrize(
    ("peer", "forwarded", "hops", "address"),
    [
        ("127.0.0.1", "203.0.113.9", 1, "203.0.113.9"),
        ("127.0.0.1", "198.51.100.1, 203.0.113.9", 1, "203.0.113.9"),  # the client wrote the first itself
        ("127.0.0.1", "198.51.100.1, 203.0.113.9, 10.0.0.1", 2, "203.0.113.9"),
        ("203.0.113.7", "198.51.100.1", 1, "203.0.113.7"),  # not the gateway
        ("127.0.0.1", "not an address", 1, "127.0.0.1"),
        ("127.0.0.1", None, 1, "127.0.0.1"),
    ],
)
def test_the_clients_address_is_what_the_last_trusted_proxy_saw(
    peer: str, forwarded: str | None, hops: int, address: str
) -> None:
    from werkzeug.test import EnvironBuilder
    from werkzeug.wrappers import Request

    from auth.clients import Clients

    settings = Settings(database_url="sqlite:///x", rabbitmq_url="amqp://x", keys_dir="k", trusted_hops=hops)
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    environ = EnvironBuilder(headers=headers, environ_base={"REMOTE_ADDR": peer}).get_environ()
    assert Clients(settings).address(Request(environ)) == address  # type: ignore[arg-type]


LIMIT = Limit("test", free=3, forget_s=600, first_s=30, longest_s=60)
PLAIN = Limit("plain", free=3, forget_s=60)


@pytest.fixture
def redis_limiter(app: Flask, monkeypatch: pytest.MonkeyPatch) -> tuple[Limiter, fakeredis.FakeServer]:
    server = fakeredis.FakeServer()
    monkeypatch.setattr(redis.Redis, "from_url", lambda *_, **__: fakeredis.FakeRedis(server=server))
    return Limiter(parts().settings.model_copy(update={"redis_url": "redis://fake"})), server


def allowed(limiter: Limiter, limit: Limit, tries: int = 8, subject: str = "somebody") -> int:
    count = 0
    for _ in range(tries):
        try:
            limiter.admit(limit.claim(subject))
        except TooManyAttempts:
            continue
        count += 1
    return count


def test_redis_counts_as_the_database_does(redis_limiter: tuple[Limiter, fakeredis.FakeServer]) -> None:
    limiter, _ = redis_limiter
    assert allowed(limiter, LIMIT) == allowed(limiter, PLAIN) == 3
    limiter.settle(clear=[LIMIT.claim("somebody")])
    assert allowed(limiter, LIMIT) == 3
    for _ in range(8):
        limiter.admit(LIMIT.claim("someone else"))
        limiter.settle(give_back=[LIMIT.claim("someone else")])
    with reading() as session:
        assert session.scalars(select(Attempts)).all() == []


@pytest.mark.parametrize("in_redis", [True, False], ids=["redis", "database"])
def test_what_refuses_silently_is_told_to_the_caller_alone(
    redis_limiter: tuple[Limiter, fakeredis.FakeServer], in_redis: bool
) -> None:
    limiter, server = redis_limiter
    server.connected = in_redis
    loose = Limit("loose", free=100, forget_s=60)
    counts = [limiter.admit(loose.claim("name"), silent=LIMIT.claim("account")) for _ in range(5)]
    assert counts == [[1, 1], [2, 2], [3, 3], [4, 0], [5, 0]]


def test_a_burst_in_redis_gets_no_more_tries(
    redis_limiter: tuple[Limiter, fakeredis.FakeServer], app: Flask
) -> None:
    limiter, _ = redis_limiter
    with ThreadPoolExecutor(16) as threads:
        counts = threads.map(lambda _: allowed(limiter, LIMIT, tries=1), range(60))
    assert sum(counts) == 3


def test_when_redis_goes_away_the_database_counts_on(
    redis_limiter: tuple[Limiter, fakeredis.FakeServer],
) -> None:
    limiter, server = redis_limiter
    assert allowed(limiter, LIMIT) == 3
    server.connected = False
    assert allowed(limiter, LIMIT) == 3
    with reading() as session:
        assert len(session.scalars(select(Attempts)).all()) == 1
