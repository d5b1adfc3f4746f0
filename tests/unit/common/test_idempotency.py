"""The contract's rules of Idempotency-Key."""

import threading
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from common import clock, ids
from common.db import reading
from common.db.tables import IdempotencyKey, Outbox
from common.web import idempotency
from tests.support.services import bearer

USER = ids.new_id()
BOTH = pytest.mark.parametrize("works", ["works", "optimistic/works"])
"""Whether the key is looked up before the view or only when it has to be: nobody sees a difference."""
BOTH_STEPS = pytest.mark.parametrize("steps", ["steps", "optimistic/steps"])


def post(
    client: FlaskClient, path: str = "works", key: str | None = "k1", user: str = USER, **body: object
) -> TestResponse:
    return client.post(f"/api/probe/{path}", json={"name": "a"} | body, headers=bearer(user, key=key))


def rows() -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(Outbox)) or 0


@BOTH
def test_a_repeat_gets_the_first_answer_byte_for_byte_and_works_once(client: FlaskClient, works: str) -> None:
    first, again = post(client, works), post(client, works)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.data == again.data
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert rows() == 1


def test_the_same_json_in_another_order_is_the_same_body(client: FlaskClient) -> None:
    headers = bearer(USER, key="k1") | {"Content-Type": "application/json"}
    first = client.post("/api/probe/works", data=b'{"name":"a","amount":5}', headers=headers)
    again = client.post("/api/probe/works", data=b'{ "amount": 5, "name": "a" }', headers=headers)
    assert first.data == again.data
    assert rows() == 1


@BOTH
def test_another_body_under_the_same_key_is_refused(client: FlaskClient, works: str) -> None:
    post(client, works)
    for other in ({"name": "b"}, {"name": ""}, {"name": "b", "fail": "conflict"}):
        answer = post(client, works, **other)
        assert (answer.status_code, answer.json["code"]) == (422, "idempotency_key_reused")
        assert [each["field"] for each in answer.json["errors"]] == ["Idempotency-Key"]
    assert rows() == 1


def test_another_query_under_the_same_key_is_refused(client: FlaskClient) -> None:
    """Whatever the order of its parameters: a query says what is to be done as a body does."""
    post(client, "works?size=1&kind=a&kind=b")
    assert post(client, "works?kind=a&kind=b&size=1").headers["Idempotent-Replayed"] == "true"
    for other in ("works", "works?size=2&kind=a&kind=b"):
        assert post(client, other).json["code"] == "idempotency_key_reused"
    assert rows() == 1


def test_an_optimistic_view_that_is_repeated_does_nothing_after_looking_its_key_up(
    client: FlaskClient, probe
) -> None:
    first = post(client, "optimistic/calls")
    assert post(client, "optimistic/calls").data == first.data
    assert post(client, "optimistic/calls", name="b").json["code"] == "idempotency_key_reused"
    assert (probe.calls, rows()) == (1, 1)


def test_a_missing_key_is_refused_where_one_is_required(client: FlaskClient) -> None:
    answer = post(client, key=None)
    assert (answer.status_code, answer.json["code"]) == (400, "idempotency_key_required")


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_of_wrong_length_is_refused(client: FlaskClient, key: str) -> None:
    headers = bearer(USER) | {"Idempotency-Key": key}
    assert client.post("/api/probe/works", json={"name": "a"}, headers=headers).status_code == 400


def test_a_key_belongs_to_its_caller_and_path(client: FlaskClient) -> None:
    assert post(client).data != post(client, user=ids.new_id()).data
    assert post(client, path="steps").status_code == 201
    assert rows() == 3


@BOTH
def test_refusals_before_work_are_not_kept(client: FlaskClient, works: str) -> None:
    assert post(client, works, name="").status_code == 422
    assert post(client, works, fail="overloaded").status_code == 503
    assert post(client, works).status_code == 201


@BOTH
def test_a_conflict_is_the_first_answer_and_stays(client: FlaskClient, works: str) -> None:
    first, again = post(client, works, fail="conflict"), post(client, works, fail="conflict")
    assert (first.status_code, again.status_code) == (409, 409)
    assert first.data == again.data
    assert again.headers["Idempotent-Replayed"] == "true"
    assert rows() == 0


@BOTH
def test_a_bug_leaves_nothing_and_the_key_free(client: FlaskClient, works: str) -> None:
    assert post(client, works, fail="bug").status_code == 500
    assert rows() == 0
    assert post(client, works).status_code == 201


@BOTH
def test_fifty_at_once_work_once(app: Flask, works: str) -> None:
    answers: list[TestResponse] = []

    def run() -> None:
        with app.app_context():
            answers.append(post(app.test_client(), works))

    threads = [threading.Thread(target=run) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {a.status_code for a in answers} <= {201, 409}
    assert len({a.data for a in answers if a.status_code == 201}) == 1
    assert {a.json["code"] for a in answers if a.status_code == 409} <= {"request_in_progress"}
    assert rows() == 1


@BOTH_STEPS
def test_while_the_first_is_running_others_are_told_so(app: Flask, probe, steps: str) -> None:
    probe.gate.clear()
    first: list[TestResponse] = []

    def run() -> None:
        with app.app_context():
            first.append(post(app.test_client(), path=steps))

    thread = threading.Thread(target=run)
    thread.start()
    while rows() == 0:
        thread.join(0.01)
    second = post(app.test_client(), path=steps)
    probe.gate.set()
    thread.join()
    assert (second.status_code, second.json["code"]) == (409, "request_in_progress")
    assert second.headers["Retry-After"]
    assert first[0].status_code == 201
    assert post(app.test_client(), path=steps).data == first[0].data


@BOTH_STEPS
def test_after_a_crash_in_the_middle_the_same_work_goes_on(client: FlaskClient, probe, steps: str) -> None:
    probe.die_after_intent = True
    with pytest.raises(SystemExit):
        post(client, path=steps)
    probe.die_after_intent = False
    assert post(client, path=steps).json["code"] == "request_in_progress"
    with clock.frozen(clock.now() + idempotency.LEASE + timedelta(seconds=1)):
        answer = post(client, path=steps)
        assert answer.status_code == 201
        assert post(client, path=steps).data == answer.data
    assert rows() == 1


@BOTH
def test_a_key_is_forgotten_after_a_day(client: FlaskClient, works: str) -> None:
    first = post(client, works)
    with clock.frozen(clock.now() + idempotency.KEPT + timedelta(minutes=1)):
        later = post(client, works)
    assert later.status_code == 201
    assert later.data != first.data


def test_neither_key_nor_answer_rest_in_the_table(client: FlaskClient) -> None:
    post(client, key="a-very-secret-key", name="visible-name")
    with reading() as session:
        (row,) = session.scalars(select(IdempotencyKey)).all()
    stored = repr([row.scope, row.fingerprint, row.answer])
    assert "secret-key" not in stored
    assert "visible-name" not in stored
