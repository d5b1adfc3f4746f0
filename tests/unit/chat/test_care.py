"""Customer care: queue, capacity, presence, transfers, notes, canned responses, ratings, idle conversations."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from chat import worker
from common import clock, ids
from tests.support.services import bearer

NIMALI, AGENT, COLLEAGUE = ids.new_id(), ids.new_id(), ids.new_id()
URL = "/api/chat/conversations"


def waiting(client: FlaskClient, user_id: str | None = None) -> str:
    return client.post(URL, json={}, headers=bearer(user_id or ids.new_id())).json["id"]


def status(client: FlaskClient, agent_id: str = AGENT, *, available: bool = True, **more: object) -> dict:
    answer = client.post(
        "/api/chat/agent/status", json={"available": available, **more}, headers=bearer(agent_id, "agent")
    )
    assert answer.status_code == 200, answer.text
    return answer.json


def see(client: FlaskClient, conversation_id: str) -> dict:
    return client.get(f"{URL}/{conversation_id}", headers=bearer(AGENT, "agent")).json


def act(client: FlaskClient, conversation_id: str, what: str, by: str = AGENT, **body: object):
    return client.post(f"{URL}/{conversation_id}/{what}", json=body, headers=bearer(by, "agent"))


def say(client: FlaskClient, conversation_id: str, user_id: str, *roles: str):
    return client.post(
        f"{URL}/{conversation_id}/messages",
        json={"client_message_id": ids.new_id(), "body": "x"},
        headers=bearer(user_id, *roles),
    )


def bodies(client: FlaskClient, conversation_id: str) -> list[tuple[str, str]]:
    found = client.get(f"{URL}/{conversation_id}/messages", headers=bearer(AGENT, "agent")).json["items"]
    return [(message["sender"]["role"], message["body"]) for message in found]


def test_the_oldest_waiting_get_the_free_agent_and_never_more_than_the_capacity(client: FlaskClient) -> None:
    first, second, third = (waiting(client) for _ in range(3))
    status(client, capacity=2)
    worker.deal_out_queue()
    assert [see(client, c)["state"] for c in (first, second, third)] == ["assigned", "assigned", "queued"]
    place = see(client, third)["queue"]
    assert place["position"] == 1
    assert place["estimated_wait_s"] > 0
    act(client, first, "close")
    worker.deal_out_queue()
    assert see(client, third)["agent"]["id"] == AGENT


def test_who_waits_knows_the_place_in_the_queue(client: FlaskClient, phone: Callable) -> None:
    conversations = [waiting(client, NIMALI) for _ in range(3)]
    customer = phone(NIMALI)
    places = [customer.join(c)["conversation"]["queue"]["position"] for c in conversations]
    assert places == [1, 2, 3]
    assert see(client, conversations[0])["queue"]["estimated_wait_s"] is None, "nobody works"
    act(client, conversations[0], "accept")
    worker.deal_out_queue()
    told = [(p["conversation_id"], p["position"]) for p in customer.heard("queue:position")]
    assert told == [(conversations[1], 1), (conversations[2], 2)]


def test_the_estimated_wait_is_what_conversations_took_lately_shared_by_who_works(
    client: FlaskClient,
) -> None:
    with clock.frozen(clock.now()):
        status(client, capacity=2)
        for _ in range(2):
            done = waiting(client)
            act(client, done, "accept")
            clock.move(timedelta(seconds=60))
            status(client, capacity=2)
            clock.move(timedelta(seconds=60))
            status(client, capacity=2)
            act(client, done, "close")
        first, second = waiting(client), waiting(client)
        waits = [see(client, c)["queue"]["estimated_wait_s"] for c in (first, second)]
        assert waits == [60, 120], "120 s each, two at a time"


def test_capacity_holds_when_agents_and_dispatcher_race(app: Flask, client: FlaskClient) -> None:
    conversations = [waiting(client) for _ in range(8)]
    status(client, capacity=3)

    def take(conversation_id: str) -> int:
        return act(app.test_client(), conversation_id, "accept").status_code

    def deal(_: int) -> int:
        with app.app_context():
            worker.deal_out_queue()
        return 0

    with ThreadPoolExecutor(6) as pool:
        taken = pool.map(take, reversed(conversations))
        dealt = pool.map(deal, range(3))
        codes = [*taken, *dealt]
    assert set(codes) <= {0, 200, 409}
    worker.deal_out_queue()
    assert sum(see(client, c)["state"] == "assigned" for c in conversations) == 3


def test_one_conversation_accepted_by_two_goes_to_one(app: Flask, client: FlaskClient) -> None:
    opened = waiting(client)
    with ThreadPoolExecutor(2) as pool:
        answers = list(
            pool.map(lambda who: act(app.test_client(), opened, "accept", who), (AGENT, COLLEAGUE))
        )
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert {a.json["code"] for a in answers if a.status_code == 409} == {"conversation_taken"}
    winner = next(a.json["agent"]["id"] for a in answers if a.status_code == 200)
    assert act(client, opened, "accept", winner).status_code == 200


def test_accepting_above_the_capacity_is_refused(client: FlaskClient) -> None:
    status(client, capacity=1, available=False)
    assert act(client, waiting(client), "accept").status_code == 200
    refused = act(client, waiting(client), "accept")
    assert (refused.status_code, refused.json["code"]) == (409, "agent_at_capacity")


def test_an_agent_finds_the_own_conversations_however_many_others_have(client: FlaskClient) -> None:
    own, *_ = opened = [waiting(client) for _ in range(3)]
    for conversation, agent in zip(opened, (AGENT, COLLEAGUE, COLLEAGUE), strict=True):
        act(client, conversation, "accept", agent)
    page = client.get(f"{URL}?state=assigned&limit=1&agent_id={AGENT}", headers=bearer(AGENT, "agent")).json
    assert ([item["id"] for item in page["items"]], page["next_cursor"]) == ([own], None)


def test_the_agent_longest_without_a_new_one_is_next(client: FlaskClient) -> None:
    status(client, AGENT, capacity=5)
    status(client, COLLEAGUE, capacity=5)
    conversations = [waiting(client) for _ in range(4)]
    worker.deal_out_queue()
    agents = [see(client, c)["agent"]["id"] for c in conversations]
    assert set(agents[:2]) == set(agents[2:]) == {AGENT, COLLEAGUE}


def test_a_transfer_goes_to_a_person_with_room_or_to_a_team_without_losing_the_turn(
    client: FlaskClient,
) -> None:
    opened = waiting(client)
    assert act(client, opened, "transfer", team="billing").json["code"] == "not_assigned"
    act(client, opened, "accept")
    absent = act(client, opened, "transfer", agent_id=COLLEAGUE)
    assert (absent.status_code, absent.json["code"]) == (409, "agent_unavailable")
    assert see(client, opened)["agent"]["id"] == AGENT, "a refused transfer leaves it where it is"
    status(client, COLLEAGUE, capacity=1)
    moved = act(client, opened, "transfer", agent_id=COLLEAGUE, note="knows the case")
    assert (moved.status_code, moved.json["agent"]["id"]) == (200, COLLEAGUE)
    act(client, opened, "transfer", agent_id=COLLEAGUE, note="has it already")
    notes = client.get(f"{URL}/{opened}/notes", headers=bearer(AGENT, "agent")).json["items"]
    assert [note["body"] for note in notes] == ["has it already", "knows the case"]
    status(client, AGENT, capacity=5)
    later = waiting(client)
    act(client, opened, "transfer", COLLEAGUE, team="billing")
    worker.deal_out_queue()
    assert see(client, opened)["state"] == "queued", "nobody of the team"
    assert see(client, later)["agent"]["id"] == AGENT
    status(client, COLLEAGUE, team="billing")
    worker.deal_out_queue()
    assert see(client, opened)["agent"]["id"] == COLLEAGUE


@pytest.mark.parametrize(
    "body", [{}, {"team": "x", "agent_id": ids.new_id()}, {"agent_id": "x"}, {"team": "A b"}]
)
def test_a_transfer_to_nobody_or_to_two_is_refused(client: FlaskClient, body: dict) -> None:
    assert act(client, waiting(client), "transfer", **body).status_code == 422


def test_an_agent_not_seen_for_a_while_gets_no_more(client: FlaskClient) -> None:
    with clock.frozen(clock.now()):
        status(client, capacity=5)
        clock.move(timedelta(seconds=91))
        opened = waiting(client)
        worker.deal_out_queue()
        assert see(client, opened)["state"] == "queued"
        worker.watch_agents()
        (agent,) = client.get("/api/chat/agent/queue", headers=bearer(AGENT, "agent")).json["agents"]
        assert agent["available"] is False


def test_a_customer_left_without_an_answer_is_first_in_the_queue_again(client: FlaskClient) -> None:
    with clock.frozen(clock.now()):
        opened = waiting(client, NIMALI)
        status(client, capacity=1)
        worker.deal_out_queue()
        clock.move(timedelta(seconds=200))
        later = waiting(client)
        clock.move(timedelta(seconds=101))
        worker.watch_agents()
        worker.watch_agents()
        queue = client.get("/api/chat/agent/queue", headers=bearer(AGENT, "agent")).json
        assert [item["id"] for item in queue["items"]] == [opened, later]
        assert [role for role, _ in bodies(client, opened)] == ["system"]
        status(client, COLLEAGUE, capacity=1)
        worker.deal_out_queue()
        assert see(client, opened)["agent"]["id"] == COLLEAGUE


def test_an_answered_customer_stays_with_the_agent(client: FlaskClient) -> None:
    with clock.frozen(clock.now()):
        opened = waiting(client, NIMALI)
        act(client, opened, "accept")
        say(client, opened, AGENT, "agent")
        clock.move(timedelta(seconds=301))
        worker.watch_agents()
        assert see(client, opened)["state"] == "assigned"
        say(client, opened, NIMALI)
        clock.move(timedelta(seconds=301))
        worker.watch_agents()
        assert see(client, opened)["state"] == "queued"


def test_an_idle_conversation_is_warned_then_closed_and_a_word_saves_it(client: FlaskClient) -> None:
    with clock.frozen(clock.now()):
        idle, saved = waiting(client, NIMALI), waiting(client, NIMALI)
        for opened in (idle, saved):
            say(client, opened, AGENT, "agent")
        clock.move(timedelta(hours=3))
        worker.look_after_idle()
        worker.look_after_idle()
        assert [role for role, _ in bodies(client, idle)] == ["agent", "system"]
        say(client, saved, NIMALI)
        clock.move(timedelta(seconds=299))
        worker.look_after_idle()
        assert see(client, idle)["state"] == "assigned"
        clock.move(timedelta(seconds=2))
        worker.look_after_idle()
        assert [see(client, opened)["state"] for opened in (idle, saved)] == ["closed", "assigned"]
        assert [role for role, _ in bodies(client, idle)] == ["agent", "system", "system"]


def test_notes_are_for_customer_care_only(client: FlaskClient, phone: Callable) -> None:
    opened = waiting(client, NIMALI)
    customer, agent = phone(NIMALI), phone(AGENT, "agent")
    customer.join(opened)
    assert act(client, opened, "notes", body="angry").status_code == 201
    assert customer.heard("note:new") == []
    assert [note["body"] for note in agent.heard("note:new")] == ["angry"]
    assert client.get(f"{URL}/{opened}/notes", headers=bearer(NIMALI)).status_code == 403
    notes = client.get(f"{URL}/{opened}/notes", headers=bearer(AGENT, "agent")).json["items"]
    assert [(note["body"], note["author"]["id"]) for note in notes] == [("angry", AGENT)]
    assert bodies(client, opened) == []


def test_canned_responses_are_kept_changed_and_removed(client: FlaskClient) -> None:
    url, headers = "/api/chat/agent/canned-responses", bearer(AGENT, "agent")
    made = client.post(url, json={"shortcut": "hi", "body": "Good day"}, headers=headers)
    assert made.status_code == 201
    again = client.post(url, json={"shortcut": "hi", "body": "Hello"}, headers=headers)
    assert (again.status_code, again.json["code"]) == (409, "shortcut_taken")
    one = f"{url}/{made.json['id']}"
    changed = client.put(one, json={"shortcut": "hi", "language": "ta", "body": "வணக்கம்"}, headers=headers)
    assert (changed.status_code, changed.json["body"]) == (200, "வணக்கம்")
    assert [item["shortcut"] for item in client.get(url, headers=headers).json["items"]] == ["hi"]
    assert client.delete(one, headers=headers).status_code == 204
    assert client.delete(one, headers=headers).status_code == 404
    assert client.get(url, headers=bearer(NIMALI)).status_code == 403


def test_a_closed_conversation_is_rated_once_by_its_customer(client: FlaskClient) -> None:
    opened = waiting(client, NIMALI)

    def rate(user_id: str, **body: object):
        return client.post(f"{URL}/{opened}/rating", json=body, headers=bearer(user_id))

    assert rate(NIMALI, score=5).json["code"] == "conversation_open"
    act(client, opened, "close")
    for bad in ({"score": 0}, {"score": 6}, {"score": "5"}, {"score": True}, {}):
        assert rate(NIMALI, **bad).status_code == 422
    assert rate(ids.new_id(), score=1).status_code == 404
    for _ in range(2):
        assert rate(NIMALI, score=4, comment="fine").json["rating"] == 4
    assert rate(NIMALI, score=1).json["code"] == "already_rated"


def test_agents_work_over_the_socket_too_and_customers_cannot(client: FlaskClient, phone: Callable) -> None:
    agent, customer = phone(AGENT, "agent"), phone(NIMALI)
    answer = agent.send("agent:status", {"available": True, "capacity": 2})
    assert (answer["ok"], answer["agent"]["capacity"]) == (True, 2)
    assert [item["available"] for item in agent.heard("presence")] == [True]
    refused = customer.send("agent:status", {"available": True, "capacity": 2})
    assert (refused["ok"], refused["code"]) == (False, "forbidden")
    for bad in (
        {"available": "yes"},
        {"available": True, "capacity": 0},
        {"available": True, "capacity": 51},
    ):
        assert agent.send("agent:status", bad)["code"] == "validation_failed"


def test_agents_hear_of_every_conversation_and_customers_of_theirs_only(
    client: FlaskClient, phone: Callable
) -> None:
    agent, customer = phone(AGENT, "agent"), phone(NIMALI)
    opened = waiting(client)
    assert [item["id"] for item in agent.heard("conversation:updated")] == [opened]
    assert customer.heard() == []


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/agent/queue"), ("POST", "/agent/status"), ("GET", f"/agent/customers/{NIMALI}")],
)
def test_customers_have_no_business_in_customer_care(client: FlaskClient, method: str, path: str) -> None:
    assert client.open(f"/api/chat{path}", method=method, headers=bearer(NIMALI)).status_code == 403
