"""Messages that are stored together: each as if it were alone."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.exc import IntegrityError, OperationalError

from chat.schemas.conversations import SentOut
from chat.sockets import together
from chat.sockets.together import Together
from chat.use_cases import messages
from chat.use_cases.messages import Wish
from common import ids
from common.errors import AppError
from common.identity.requests import guard
from tests.support.eventually import eventually
from tests.support.services import bearer, token

URL = "/api/chat/conversations"
Send = Callable[[list[Wish]], list[SentOut | Exception]]


@pytest.fixture
def send(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Send:
    """Sends all at the same time: the first to lead waits until the others have come."""
    desk = Together(app.extensions["sricare_settings"])

    def send_all(wishes: list[Wish]) -> list[SentOut | Exception]:
        everybody = threading.Event()
        monkeypatch.setattr(together, "time", SimpleNamespace(sleep=lambda _: everybody.wait(60)))

        def one(wish: Wish) -> SentOut | Exception:
            with app.app_context():
                try:
                    return desk.send(wish)
                except (AppError, OperationalError, IntegrityError) as error:
                    return error

        with ThreadPoolExecutor(len(wishes)) as pool:
            answers = [pool.submit(one, wish) for wish in wishes]
            eventually(lambda: len(desk._waiting) == len(wishes))
            everybody.set()
            return [answer.result(20) for answer in answers]

    return send_all


def customer(client: FlaskClient) -> tuple[str, str]:
    user_id = ids.new_id()
    return user_id, client.post(URL, json={}, headers=bearer(user_id)).json["id"]


def wish(user_id: str, conversation_id: str, key: str) -> Wish:
    return Wish(guard().admit(token(user_id)), conversation_id, key, f"body {key}")


def stored(client: FlaskClient, user_id: str, conversation_id: str) -> list[tuple[int, str]]:
    found = client.get(f"{URL}/{conversation_id}/messages", headers=bearer(user_id)).json["items"]
    return [(message["seq"], message["client_message_id"]) for message in found]


def test_all_are_stored_without_gaps_and_a_repeated_one_once(client: FlaskClient, send: Send) -> None:
    (nimali, first), (kamal, second) = customer(client), customer(client)
    wishes = [wish(nimali, first, str(n)) for n in (1, 2, 2, 3)] + [wish(kamal, second, "1")]
    answers = send(wishes)
    assert all(isinstance(answer, SentOut) for answer in answers), answers
    found = stored(client, nimali, first)
    assert [seq for seq, _ in found] == [1, 2, 3]
    assert {key for _, key in found} == {"1", "2", "3"}
    assert stored(client, kamal, second) == [(1, "1")]
    twins = [answer for answer, one in zip(answers, wishes, strict=True) if one.client_message_id == "2"]
    assert len({answer.message.id for answer in twins}) == 1
    assert sorted(answer.stored_now for answer in twins) == [False, True]


def test_a_refusal_is_only_for_the_message_that_it_is_for(client: FlaskClient, send: Send) -> None:
    (nimali, first), (kamal, second), (_, strange) = (customer(client) for _ in range(3))
    client.post(f"{URL}/{second}/close", headers=bearer(kamal))
    wishes = [wish(nimali, first, "1"), wish(kamal, second, "1"), wish(kamal, strange, "1")]
    fine, closed, foreign = send(wishes)
    assert isinstance(fine, SentOut)
    assert (closed.code, foreign.code) == ("conversation_closed", "not_found")
    assert stored(client, nimali, first) == [(1, "1")]


def test_what_the_database_refuses_spoils_no_other(
    client: FlaskClient, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nimali, first), (kamal, second) = customer(client), customer(client)

    def picky(session: object, settings: object, wishes: list[Wish]) -> object:
        if any(one.who.user_id == kamal for one in wishes):
            raise IntegrityError("", None, Exception())
        return messages.send_messages(session, settings, wishes)

    monkeypatch.setattr(together, "send_messages", picky)
    fine, refused = send([wish(nimali, first, "1"), wish(kamal, second, "1")])
    assert isinstance(fine, SentOut)
    assert isinstance(refused, IntegrityError)
    assert stored(client, nimali, first) == [(1, "1")]


def test_after_a_failure_of_all_the_next_are_stored(
    client: FlaskClient, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    nimali, opened = customer(client)

    def broken(*_: object) -> object:
        raise OperationalError("", None, Exception())

    with monkeypatch.context() as patched:
        patched.setattr(together, "send_messages", broken)
        failed = send([wish(nimali, opened, str(n)) for n in range(3)])
    assert [type(one) for one in failed] == [OperationalError] * 3
    assert all(isinstance(one, SentOut) for one in send([wish(nimali, opened, str(n)) for n in range(3)]))
    assert [seq for seq, _ in stored(client, nimali, opened)] == [1, 2, 3]
