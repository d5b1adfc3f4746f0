"""Support tickets."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from chat.handlers import HANDLERS
from common import clock, ids
from tests.support.services import an_event, bearer, deliver, emitted

NIMALI, KAMAL, AGENT = ids.new_id(), ids.new_id(), ids.new_id()
URL = "/api/chat/tickets"
CARE = (AGENT, "agent")


def create(client: FlaskClient, who: tuple[str, ...] = (NIMALI,), **more: object):
    body = {"subject": "No signal", "description": "Since Monday", **more}
    return client.post(URL, json=body, headers=bearer(*who))


def patch(client: FlaskClient, ticket_id: str, who: tuple[str, ...] = CARE, **changes: object):
    return client.patch(f"{URL}/{ticket_id}", json=changes, headers=bearer(*who))


def comment(client: FlaskClient, ticket_id: str, who: tuple[str, ...], **body: object):
    return client.post(f"{URL}/{ticket_id}/comments", json=body, headers=bearer(*who))


def see(client: FlaskClient, ticket_id: str, who: tuple[str, ...] = (NIMALI,)) -> dict:
    return client.get(f"{URL}/{ticket_id}", headers=bearer(*who)).json


def test_a_ticket_goes_its_way_and_the_customer_is_told(client: FlaskClient) -> None:
    made = create(client, category="network")
    assert made.status_code == 201
    ticket = made.json
    assert (ticket["state"], ticket["category"], ticket["priority"]) == ("open", "network", "normal")
    assert patch(client, ticket["id"], state="in_progress").json["state"] == "in_progress"
    assert patch(client, ticket["id"], state="resolved").json["state"] == "resolved"
    assert patch(client, ticket["id"], (NIMALI,), state="closed").json["state"] == "closed"
    assert patch(client, ticket["id"], state="open").json["code"] == "ticket_closed"
    assert comment(client, ticket["id"], (NIMALI,), body="x").json["code"] == "ticket_closed"
    told = [(event.type, event.data["state"]) for event in emitted() if event.type.startswith("ticket.")]
    assert told == [
        ("ticket.created", "open"),
        ("ticket.updated", "in_progress"),
        ("ticket.resolved", "resolved"),
        ("ticket.updated", "closed"),
    ]
    history = see(client, ticket["id"])["history"]
    assert [(change["before"], change["after"]) for change in history] == [
        ("open", "in_progress"),
        ("in_progress", "resolved"),
        ("resolved", "closed"),
    ]


def test_numbers_have_no_gaps_and_no_twins(app: Flask, client: FlaskClient) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: create(app.test_client()), range(8)))
    assert {answer.status_code for answer in answers} == {201}
    year = clock.today().year
    assert sorted(a.json["number"] for a in answers) == [f"TCK-{year}-{n:06d}" for n in range(1, 9)]


def test_another_customers_ticket_does_not_exist(client: FlaskClient) -> None:
    ticket = create(client).json["id"]
    assert client.get(f"{URL}/{ticket}", headers=bearer(KAMAL)).status_code == 404
    assert patch(client, ticket, (KAMAL,), state="closed").status_code == 404
    assert comment(client, ticket, (KAMAL,), body="x").status_code == 404
    assert client.get(f"{URL}?customer_id={NIMALI}", headers=bearer(KAMAL)).json["items"] == []
    assert [t["id"] for t in client.get(URL, headers=bearer(*CARE)).json["items"]] == [ticket]


def test_internal_comments_stay_internal_and_public_ones_are_told(client: FlaskClient) -> None:
    ticket = create(client).json["id"]
    assert comment(client, ticket, CARE, body="he is wrong", internal=True).status_code == 201
    assert emitted("ticket.updated") == []
    assert comment(client, ticket, (NIMALI,), body="x", internal=True).status_code == 403
    comment(client, ticket, CARE, body="we are looking")
    comment(client, ticket, (NIMALI,), body="thanks")
    assert [c["body"] for c in see(client, ticket)["comments"]] == ["we are looking", "thanks"]
    assert len(see(client, ticket, CARE)["comments"]) == 3
    assert len(emitted("ticket.updated")) == 1
    assert see(client, ticket)["sla"]["first_responded_at"] is not None


def test_the_clocks_stand_still_while_it_is_the_customers_turn(client: FlaskClient) -> None:
    with clock.frozen(clock.now()):
        ticket = create(client).json
        patch(client, ticket["id"], waiting_for_customer=True)
        clock.move(timedelta(days=30))
        paused = see(client, ticket["id"])["sla"]
        assert (paused["paused"], paused["breached"]) == (True, False)
        comment(client, ticket["id"], (NIMALI,), body="here it is")
        running = see(client, ticket["id"])["sla"]
        assert (running["paused"], running["breached"]) == (False, False)
        clock.move(timedelta(hours=9))
        assert see(client, ticket["id"])["sla"]["breached"] is True


def test_a_first_answer_that_was_late_stays_late(client: FlaskClient) -> None:
    with clock.frozen(clock.now()):
        ticket = create(client).json["id"]
        clock.move(timedelta(hours=9))
        comment(client, ticket, CARE, body="we are on it")
        patch(client, ticket, waiting_for_customer=True)
        clock.move(timedelta(hours=5))
        patch(client, ticket, waiting_for_customer=False, priority="low")
        assert see(client, ticket)["sla"]["breached"] is True


def test_a_ticket_that_is_taken_up_again_has_the_time_that_was_left(client: FlaskClient) -> None:
    with clock.frozen(clock.now()):
        ticket = create(client).json["id"]
        patch(client, ticket, state="resolved")
        assert patch(client, ticket, waiting_for_customer=True).json["code"] == "wrong_transition"
        clock.move(timedelta(days=30))
        patch(client, ticket, (NIMALI,), state="in_progress")
        assert see(client, ticket)["sla"]["breached"] is False
        clock.move(timedelta(hours=8, minutes=1))
        assert see(client, ticket)["sla"]["breached"] is True


def test_a_customers_word_takes_a_resolved_ticket_up_again(client: FlaskClient) -> None:
    ticket = create(client).json["id"]
    patch(client, ticket, state="resolved")
    comment(client, ticket, (NIMALI,), body="it is not")
    assert see(client, ticket)["state"] == "in_progress"


@pytest.mark.parametrize(
    "changes", [{"state": "resolved"}, {"priority": "urgent"}, {"state": "closed"}, {"agent_id": NIMALI}]
)
def test_customers_do_not_run_the_ticket(client: FlaskClient, changes: dict) -> None:
    assert patch(client, create(client).json["id"], (NIMALI,), **changes).status_code == 403


def test_urgency_is_customer_cares_to_decide(client: FlaskClient) -> None:
    assert create(client, priority="urgent").json["priority"] == "normal"
    assert create(client, priority="low").json["priority"] == "low"
    urgent = create(client, CARE, priority="urgent", customer_id=NIMALI)
    assert (urgent.json["priority"], urgent.json["customer"]["id"]) == ("urgent", NIMALI)
    assert create(client, customer_id=KAMAL).status_code == 403


def test_a_ticket_from_a_conversation_is_its_customers(client: FlaskClient) -> None:
    conversation = client.post("/api/chat/conversations", json={}, headers=bearer(NIMALI)).json["id"]
    assert create(client, CARE, conversation_id=conversation).json["customer"]["id"] == NIMALI
    assert create(client, (KAMAL,), conversation_id=conversation).status_code == 404


def test_only_the_customers_own_orders_and_invoices_can_be_linked(client: FlaskClient) -> None:
    order = ids.new_id()
    data = {
        "order_id": order,
        "user_id": KAMAL,
        "number": "ORD-A",
        "offering_name": "x",
        "state": "acknowledged",
    }
    deliver(HANDLERS, an_event("order.created", KAMAL, data))
    assert create(client, order_id=order).status_code == 422
    assert create(client, (KAMAL,), order_id=order).json["order_id"] == order
    assert create(client, invoice_id=ids.new_id()).status_code == 422


@pytest.mark.parametrize(
    "body",
    [
        {"subject": ""},
        {"subject": "x" * 201},
        {"description": ""},
        {"category": "x"},
        {"priority": 1},
        {"order_id": "x"},
        {"extra": 1},
        {"description": "a\x00b"},
    ],
)
def test_what_is_no_ticket_is_refused(client: FlaskClient, body: dict) -> None:
    assert create(client, **body).status_code == 422


def test_the_clocks_run_by_priority_and_follow_its_changes(client: FlaskClient) -> None:
    with clock.frozen(clock.now()):
        now, ticket = clock.now(), create(client).json

        def due(shown: dict) -> tuple[float, float]:
            found = (shown["sla"][name] for name in ("first_response_due_at", "resolution_due_at"))
            response, resolution = ((datetime.fromisoformat(at) - now) / timedelta(hours=1) for at in found)
            return response, resolution

        assert due(ticket) == (8, 72)
        patch(client, ticket["id"], waiting_for_customer=True)
        clock.move(timedelta(hours=2))
        patch(client, ticket["id"], waiting_for_customer=False)
        assert due(patch(client, ticket["id"], priority="urgent").json) == (3, 6), "two hours it stood still"
        comment(client, ticket["id"], CARE, body="we are on it")
        clock.move(timedelta(hours=3, minutes=59))
        assert see(client, ticket["id"])["sla"]["breached"] is False
        clock.move(timedelta(minutes=2))
        assert see(client, ticket["id"])["sla"]["breached"] is True
