"""One-time codes: told in one event only, good once, for ten minutes and five tries, and not too many of them."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update

from auth import jobs
from auth.handlers import AUDIT_HANDLERS
from auth.models import AuditEntry, Code
from common import clock
from common.db import reading, transaction
from common.db.tables import Outbox
from tests.support.accounts import Person, register, told, wrong
from tests.support.secrecy import tells
from tests.support.services import emitted

EVENT = "user.phone.verification.requested"


def ask(client: FlaskClient, me: Person, what: str = "phone"):
    return client.post(f"/api/auth/verify/{what}/request", headers=me.headers)


def give(client: FlaskClient, me: Person, code: str, what: str = "phone"):
    return client.post(f"/api/auth/verify/{what}", json={"code": code}, headers=me.headers)


def test_the_right_code_verifies_the_number_once(client: FlaskClient) -> None:
    me = register(client)
    answer = ask(client, me)
    assert answer.status_code == 202
    event = told(EVENT)
    assert (event["phone"], event["channel"]) == ("+94771234567", "sms")
    assert give(client, me, event["code"]).json["phone_verified"] is True
    assert told("user.verified") == {"user_id": me.id, "what": "phone", "target": "+94771234567"}
    again = give(client, me, event["code"])
    assert (again.status_code, again.json["code"]) == (409, "nothing_to_verify")


def test_the_email_address_is_verified_by_its_own_code(client: FlaskClient) -> None:
    me = register(client, email="nimali@example.lk")
    assert ask(client, me, "email").status_code == 202
    event = told("user.email.verification.requested")
    assert (event["email"], event["channel"]) == ("nimali@example.lk", "email")
    ask(client, me, "phone")
    if told(EVENT)["code"] != event["code"]:
        assert give(client, me, told(EVENT)["code"], "email").status_code == 422
    assert give(client, me, event["code"], "email").json["email_verified"] is True
    assert not client.get("/api/auth/me", headers=me.headers).json["phone_verified"]


def test_without_an_email_address_there_is_nothing_to_verify(client: FlaskClient) -> None:
    assert ask(client, register(client), "email").json["code"] == "nothing_to_verify"


def test_the_code_is_in_the_event_only(client: FlaskClient, capfd) -> None:
    me = register(client)
    answer = ask(client, me)
    (event,) = emitted(EVENT)
    code = event.data["code"]
    with transaction() as session:
        AUDIT_HANDLERS["#"](session, event)
    with reading() as session:
        row = session.scalars(select(Code)).one()
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == EVENT)).one()
    assert not tells(answer.text, code)
    assert code not in row.hash
    assert entry.data["channel"] == "sms"
    assert not tells(str(entry.data), code)
    assert not tells(capfd.readouterr().out, code)


def test_the_outbox_lets_go_of_the_code_once_it_is_published(client: FlaskClient) -> None:
    me = register(client)
    ask(client, me)
    jobs.forget_published_codes()
    assert emitted(EVENT), "not before it is published"
    with transaction() as session:
        session.execute(update(Outbox).values(published_at=clock.now()))
    jobs.forget_published_codes()
    assert not emitted(EVENT)
    assert emitted("user.created"), "other rows stay"


def test_five_wrong_tries_kill_a_code(client: FlaskClient) -> None:
    me = register(client)
    ask(client, me)
    code = told(EVENT)["code"]
    for _ in range(5):
        assert give(client, me, wrong(code)).json["code"] == "invalid_code"
    assert give(client, me, code).json["code"] == "invalid_code"


def test_four_wrong_tries_do_not(client: FlaskClient) -> None:
    me = register(client)
    ask(client, me)
    code = told(EVENT)["code"]
    for _ in range(4):
        give(client, me, wrong(code))
    assert give(client, me, code).status_code == 200


def test_a_code_is_good_for_ten_minutes(client: FlaskClient) -> None:
    me, other = register(client), register(client, phone="0772222222")
    with clock.frozen(datetime.now(UTC)):
        ask(client, me)
        code = told(EVENT)["code"]
        ask(client, other)
        clock.move(timedelta(minutes=9, seconds=59))
        assert give(client, other, told(EVENT)["code"]).status_code == 200
        clock.move(timedelta(seconds=1))
        assert give(client, me, code).json["code"] == "invalid_code"


def test_one_code_a_minute_and_the_newest_counts(client: FlaskClient) -> None:
    me = register(client)
    with clock.frozen(datetime.now(UTC)):
        ask(client, me)
        first = told(EVENT)["code"]
        soon = ask(client, me)
        assert (soon.status_code, soon.json["code"]) == (429, "too_many_attempts")
        assert 1 <= int(soon.headers["Retry-After"]) <= 60
        clock.move(timedelta(seconds=61))
        assert ask(client, me).status_code == 202
        second = told(EVENT)["code"]
        if first != second:
            assert give(client, me, first).status_code == 422
        assert give(client, me, second).status_code == 200


def test_ten_codes_a_day_to_one_number(client: FlaskClient) -> None:
    me = register(client)
    with clock.frozen(datetime.now(UTC)):
        statuses = []
        for _ in range(12):
            statuses.append(ask(client, me).status_code)
            clock.move(timedelta(seconds=61))
        assert statuses == [202] * 10 + [429] * 2
        assert len(emitted(EVENT)) == 10
        client.post("/api/auth/password/forgot", json={"phone": me.phone})
        assert not emitted("user.password.reset.requested"), "ten for all purposes together"


def test_a_code_given_ten_times_at_once_verifies_once(client: FlaskClient, app: Flask) -> None:
    me = register(client)
    ask(client, me)
    code = told(EVENT)["code"]
    with ThreadPoolExecutor(10) as threads:
        statuses = list(threads.map(lambda _: give(app.test_client(), me, code).status_code, range(10)))
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 409, 422}
    assert len(emitted("user.verified")) == 1


def test_another_users_code_is_of_no_use(client: FlaskClient) -> None:
    me, other = register(client), register(client, phone="0772222222")
    ask(client, me)
    ask(client, other)
    mine = emitted(EVENT)[0].data["code"]
    if mine != told(EVENT)["code"]:
        assert give(client, other, mine).status_code == 422


def test_old_codes_and_counters_are_forgotten(client: FlaskClient) -> None:
    me = register(client)
    with clock.frozen(datetime.now(UTC)):
        ask(client, me)
        clock.move(timedelta(days=3))
        jobs.forget_expired()
    with reading() as session:
        assert session.scalars(select(Code)).all() == []
