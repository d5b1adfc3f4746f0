"""Floods, and a token refreshed in place."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from chat.floods import Bucket
from chat.sockets import gate
from common import clock, ids
from tests.support.eventually import eventually
from tests.support.services import bearer, make_app, service_fixtures, token

database_url, app, client = service_fixtures("chat", bot="off", events_burst=10, events_per_s=0.001)
NIMALI, KAMAL, AGENT = ids.new_id(), ids.new_id(), ids.new_id()


@pytest.fixture
def opened(client: FlaskClient) -> str:
    return client.post("/api/chat/conversations", json={}, headers=bearer(NIMALI)).json["id"]


def test_a_flood_is_refused_on_all_connections_of_its_user_and_on_nobody_elses(
    phone: Callable, opened: str
) -> None:
    flooding, other_device, agent = phone(NIMALI), phone(NIMALI), phone(AGENT, "agent")
    flooding.join(opened)
    answers = [flooding.say(opened, "x", str(n)) for n in range(15)]
    assert [answer["ok"] for answer in answers] == [True] * 9 + [False] * 6
    assert answers[-1]["code"] == "too_many_requests"
    assert other_device.send("conversation:join", {"conversation_id": opened})["code"] == "too_many_requests"
    assert agent.join(opened)["conversation"]["last_seq"] == 9


def test_who_floods_on_is_disconnected(phone: Callable, opened: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "FLOOD_ENDS_CONNECTION", 5)
    flooding = phone(NIMALI)
    flooding.join(opened)
    for n in range(14):
        flooding.say(opened, "x", str(n))
    eventually(lambda: not flooding.connected)


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("http://localhost", 200),
        ("https://care.example.lk", 200),
        ("https://evil.example", 400),
        ("null", 400),
    ],
)
def test_pages_from_elsewhere_get_no_socket_unless_they_are_allowed(
    database_url: str, tmp_path: Path, origin: str | None, status: int
) -> None:
    app = make_app(
        "chat",
        database_url,
        tmp_path,
        allowed_origins="https://care.example.lk",
        public_url="http://localhost",
    )
    answer = app.test_client().get(
        "/api/chat/socket.io/?EIO=4&transport=polling", headers={"Origin": origin} if origin else {}
    )
    assert answer.status_code == status
    assert "Strict-Transport-Security" not in answer.headers


def test_behind_tls_sockets_demand_it_too(database_url: str, tmp_path: Path) -> None:
    app = make_app("chat", database_url, tmp_path, public_url="https://care.example.lk")
    for query, status in (("EIO=4&transport=polling", 200), ("", 400)):
        answer = app.test_client().get(f"/api/chat/socket.io/?{query}")
        assert (answer.status_code, "Strict-Transport-Security" in answer.headers) == (status, True)


def test_a_bucket_fills_with_time() -> None:
    now = [0.0]
    bucket = Bucket(2.0, 3, lambda: now[0])
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    now[0] = 0.5
    assert [bucket.take(), bucket.take()] == [True, False]
    now[0] = 100.0
    assert bucket.full


def test_a_token_is_refreshed_in_place(phone: Callable, opened: str) -> None:
    customer = phone(NIMALI)
    customer.join(opened)
    with clock.frozen(clock.now() + timedelta(minutes=14)):
        answer = customer.send("auth:refresh", {"token": token(NIMALI)})
        assert answer["ok"]
    with clock.frozen(clock.now() + timedelta(minutes=20)):
        assert customer.say(opened, "still here", "1")["ok"]


@pytest.mark.parametrize(
    ("fresh", "code"),
    [
        ("x", "unauthorized"),
        (token(KAMAL, exp=4_000_000_000), "forbidden"),
        (token(NIMALI, exp=1), "unauthorized"),
    ],
)
def test_a_token_of_another_or_a_bad_one_is_refused_and_changes_nothing(
    phone: Callable, opened: str, fresh: str, code: str
) -> None:
    customer = phone(NIMALI)
    customer.join(opened)
    assert customer.send("auth:refresh", {"token": fresh})["code"] == code
    assert customer.say(opened, "me", "1")["ok"]
