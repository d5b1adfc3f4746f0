"""The bot: what it understands, that its answers are facts, when a person takes over."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from chat import worker
from chat.bot import Question
from chat.bot.intents import Intent, best, words
from chat.config import Settings
from chat.handlers import HANDLERS
from common import clock, ids
from common.messaging import NotYet
from common.settings import SettingsError
from tests.support.services import an_event, bearer, deliver, service_fixtures

database_url, app, client = service_fixtures("chat", bot="rules")
NIMALI, AGENT = ids.new_id(), ids.new_id()
URL = "/api/chat/conversations"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("What is my balance?", Intent.BALANCE),
        ("hi, how much money is in my wallet", Intent.BALANCE),
        ("BALANCE", Intent.BALANCE),
        ("මගේ ශේෂය කීයද?", Intent.BALANCE),
        ("என் இருப்பு எவ்வளவு?", Intent.BALANCE),
        ("How much is my bill", Intent.BILL),
        ("මගේ බිල කීයද", Intent.BILL),
        ("When is my bill due?", Intent.DUE_DATE),
        ("how much data do I have left", Intent.DATA),
        ("data balance", Intent.DATA),
        ("ඉතිරි ඩේටා කීයද", Intent.DATA),
        ("மீதி டேட்டா எவ்வளவு", Intent.DATA),
        ("where is my order?", Intent.ORDER),
        ("How do I pay my bill?", Intent.HOW_TO_PAY),
        ("does roaming work in India", Intent.ROAMING),
        ("When are you open?", Intent.HOURS),
        ("I want to talk to a person", Intent.AGENT),
        ("agent please", Intent.AGENT),
        ("නියෝජිතයෙක් එක්ක කතා කරන්න ඕන", Intent.AGENT),
        ("முகவருடன் பேச வேண்டும்", Intent.AGENT),
        ("Hello!", Intent.GREETING),
        ("thank you", Intent.THANKS),
        ("I want this fixed", None),
        ("The database of my imbalanced billing", None),
        ("My boarding agency reordered the roam", None),
        ("ok so the thing is broken since Monday and it is opening windows", Intent.YES),
        ("asdf", None),
        ("", None),
        ("!!! ??? \u200d", None),
    ],
)
def test_whole_words_and_phrases_decide_what_is_meant(said: str, meant: Intent | None) -> None:
    assert best(said) is meant


def test_two_subjects_of_equal_weight_are_not_guessed_between() -> None:
    assert best("bill order") is None


def test_signs_and_joiners_belong_to_their_word() -> None:
    assert words("ශ්\u200dරී ලංකා, இருப்பு!") == ("ශ්රී", "ලංකා", "இருப்பு")


def opened(client: FlaskClient) -> str:
    answer = client.post(URL, json={}, headers=bearer(NIMALI)).json
    assert answer["state"] == "bot"
    return answer["id"]


def ask(client: FlaskClient, conversation_id: str, *said: str) -> str:
    """What the bot answers; "" for nothing."""
    before = len(heard(client, conversation_id))
    for body in said:
        answer = client.post(
            f"{URL}/{conversation_id}/messages",
            json={"client_message_id": ids.new_id(), "body": body},
            headers=bearer(NIMALI),
        )
        assert answer.status_code == 201
    worker.answer_customers()
    return "\n".join(heard(client, conversation_id)[before:])


def heard(client: FlaskClient, conversation_id: str) -> list[str]:
    found = client.get(f"{URL}/{conversation_id}/messages", headers=bearer(NIMALI)).json["items"]
    return [message["body"] for message in found if message["sender"]["role"] == "bot"]


def state(client: FlaskClient, conversation_id: str) -> str:
    return client.get(f"{URL}/{conversation_id}", headers=bearer(NIMALI)).json["state"]


def lkr(minor: int) -> dict[str, Any]:
    return {"amount_minor": minor, "currency": "LKR"}


def registered(language: str = "en") -> None:
    data = {"name": "Nimali", "language": language, "user_id": NIMALI}
    deliver(HANDLERS, an_event("user.created", NIMALI, data))


def wallet(minor: int, **fields: Any) -> None:
    data = {"user_id": NIMALI, "entry_id": ids.new_id(), "amount": lkr(1), "balance": lkr(minor)}
    deliver(HANDLERS, an_event("wallet.credited", NIMALI, data | {"reason": "top_up"}, **fields))


def invoice(
    kind: str, invoice_id: str, amount: int = 120_000, due_on: str = "2026-12-05", **fields: Any
) -> None:
    data = {"invoice_id": invoice_id, "number": "INV-2026-000042", "user_id": NIMALI, "total": lkr(amount)}
    if kind != "invoice.paid":
        data |= {"amount_due": lkr(amount), "due_on": due_on}
    deliver(HANDLERS, an_event(kind, NIMALI, data, **fields))


def test_the_balance_is_the_real_one(client: FlaskClient) -> None:
    conversation = opened(client)
    assert "cannot see your account yet" in ask(client, conversation, "my balance")
    registered()
    assert "LKR 0.00" in ask(client, conversation, "my balance")
    wallet(150_050)
    assert ask(client, conversation, "my balance") == "Your wallet balance is LKR 1,500.50."
    invoice("invoice.issued", ids.new_id())
    assert "together LKR 1,200.00" in ask(client, conversation, "my balance")


def test_older_news_of_the_wallet_changes_nothing(client: FlaskClient) -> None:
    registered()
    wallet(200)
    wallet(100, time=clock.now() - timedelta(minutes=1))
    assert "LKR 2.00" in ask(client, opened(client), "balance")


def test_bills_are_told_in_any_order_of_arrival(client: FlaskClient) -> None:
    registered()
    conversation, one, other = opened(client), ids.new_id(), ids.new_id()
    assert ask(client, conversation, "my bill") == "You have no unpaid bill."
    invoice("invoice.paid", one)
    invoice("invoice.issued", one, time=clock.now() - timedelta(minutes=1))
    invoice("invoice.issued", other, amount=5_000)
    told = ask(client, conversation, "when is my bill due")
    assert told == "Bill INV-2026-000042: LKR 50.00, due on 2026-12-05."


def test_data_and_orders_come_from_what_was_told(client: FlaskClient) -> None:
    registered()
    conversation, order = opened(client), ids.new_id()
    assert ask(client, conversation, "how much data left") == "You have no active data pack."
    assert ask(client, conversation, "where is my order") == "You have no orders."
    shared = {"order_id": order, "user_id": NIMALI, "offering_name": "Data 50 GB", "offering_code": "d"}
    created = shared | {"number": "ORD-A", "total": lkr(1), "state": "pending_payment"}
    deliver(HANDLERS, an_event("order.created", NIMALI, created))
    assert "waiting for payment" in ask(client, conversation, "where is my order")
    service = ids.new_id()
    until = clock.rfc3339(clock.now() + timedelta(days=30))
    active = shared | {
        "order_number": "ORD-A",
        "service_id": service,
        "category": "data",
        "allowances": [{"kind": "data_mb", "granted": 51200, "used": 200}],
        "expires_at": until,
    }

    def use(used: int, until: str = until) -> None:
        usage = {"service_id": service, "user_id": NIMALI, "kind": "data_mb", "granted": 51200, "used": used}
        deliver(HANDLERS, an_event("allowance.used", NIMALI, usage | {"until": until}))

    with pytest.raises(NotYet):
        use(1_200)
    deliver(HANDLERS, an_event("service.activated", NIMALI, active))
    assert "completed" in ask(client, conversation, "where is my order")
    assert "51,000 of 51,200 MB" in ask(client, conversation, "data left")
    use(1_200)
    use(700)  # overtaken
    use(9_000, until=clock.rfc3339(clock.now() - timedelta(days=1)))  # of a validity that is over
    assert "50,000 of 51,200 MB" in ask(client, conversation, "data left")
    with pytest.raises(NotYet):
        use(1, until=clock.rfc3339(clock.now() + timedelta(days=60)))
    gone = {"service_id": service, "user_id": NIMALI, "offering_name": "Data 50 GB", "reason": "expired"}
    deliver(HANDLERS, an_event("service.deactivated", NIMALI, gone))
    assert ask(client, conversation, "data left") == "You have no active data pack."


def test_the_bot_answers_in_the_letters_that_the_customer_writes(client: FlaskClient) -> None:
    registered("si")
    wallet(100)
    conversation = opened(client)
    assert "ශේෂය LKR 1.00" in ask(client, conversation, "මගේ ශේෂය")
    assert "இருப்பு LKR 1.00" in ask(client, conversation, "என் இருப்பு")
    assert "balance is LKR 1.00" in ask(client, conversation, "my balance")


def test_what_was_said_in_a_row_gets_one_answer(client: FlaskClient) -> None:
    registered()
    conversation = opened(client)
    ask(client, conversation, "hello", "what is", "my balance")
    assert len(heard(client, conversation)) == 1


def test_who_asks_for_a_person_waits_for_one_with_the_context_noted(client: FlaskClient) -> None:
    registered()
    conversation = opened(client)
    ask(client, conversation, "my bill is wrong, let me talk to an agent")
    assert state(client, conversation) == "queued"
    assert ask(client, conversation, "my balance") == "", "the bot is silent from here on"
    url = f"{URL}/{conversation}/notes"
    (note,) = client.get(url, headers=bearer(AGENT, "agent")).json["items"]
    assert "my bill is wrong" in note["body"]


def test_an_unsure_bot_offers_a_person_and_takes_yes_and_no(client: FlaskClient) -> None:
    registered()
    yes, no, twice = (opened(client) for _ in range(3))
    for conversation in (yes, no, twice):
        assert "Shall I connect you" in ask(client, conversation, "qwerty")
    ask(client, yes, "yes please")
    ask(client, no, "no")
    ask(client, twice, "zxcvb")
    assert [state(client, c) for c in (yes, no, twice)] == ["queued", "bot", "queued"]
    ask(client, no, "yes")
    assert state(client, no) == "bot", "a yes to nothing does nothing"


def test_an_agent_who_takes_over_silences_the_bot(client: FlaskClient) -> None:
    conversation = opened(client)
    client.post(
        f"{URL}/{conversation}/messages",
        json={"client_message_id": "1", "body": "my balance"},
        headers=bearer(NIMALI),
    )
    client.post(f"{URL}/{conversation}/accept", headers=bearer(AGENT, "agent"))
    worker.answer_customers()
    assert heard(client, conversation) == []


def test_a_bot_that_fails_hands_over(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def answer(self, question: Question) -> Any:
            raise RuntimeError("no model")

    monkeypatch.setitem(worker.RESPONDERS, "rules", Broken())
    conversation = opened(client)
    ask(client, conversation, "my balance")
    assert state(client, conversation) == "queued"


def test_who_was_talking_to_a_bot_that_is_switched_off_waits_for_a_person(
    app: Flask, client: FlaskClient
) -> None:
    conversation = opened(client)
    app.extensions["sricare_settings"] = app.extensions["sricare_settings"].model_copy(update={"bot": "off"})
    assert "to a person" in ask(client, conversation, "my balance")
    assert state(client, conversation) == "queued"


def test_the_customers_card_shows_agents_what_is_known(client: FlaskClient) -> None:
    registered()
    wallet(100)
    invoice("invoice.issued", ids.new_id())
    deliver(HANDLERS, an_event("account.barred", NIMALI, {"level": "soft"}))
    card = client.get(f"/api/chat/agent/customers/{NIMALI}", headers=bearer(AGENT, "agent")).json
    assert (card["name"], card["balance"]["amount_minor"], card["barred"]) == ("Nimali", 100, "soft")
    assert [found["number"] for found in card["open_invoices"]] == ["INV-2026-000042"]


def offers(client: FlaskClient, conversation_id: str) -> list[dict[str, Any]]:
    found = client.get(f"{URL}/{conversation_id}/messages", headers=bearer(NIMALI)).json["items"]
    return [message["offer"] for message in found if message["offer"]]


def test_who_wants_to_pay_is_offered_the_bill_that_is_due_first_and_confirms_with_a_button(
    client: FlaskClient,
) -> None:
    registered()
    conversation, first = opened(client), ids.new_id()
    assert "by card" in ask(client, conversation, "how do I pay")
    assert offers(client, conversation) == [], "there is nothing to pay"
    invoice("invoice.issued", ids.new_id(), amount=5_000)
    invoice("invoice.issued", first, due_on="2026-12-01")
    assert "nothing is paid before you confirm" in ask(client, conversation, "pay my bill")
    (offer,) = offers(client, conversation)
    assert (offer["kind"], offer["invoice_id"], offer["amount"]) == ("pay", first, lkr(120_000))
    assert datetime.fromisoformat(offer["expires_at"]) > clock.now()
    assert "button" in ask(client, conversation, "yes")
    assert offers(client, conversation) == [offer], "a yes is no second offer"


@pytest.mark.parametrize(
    ("said", "category"),
    [
        ("I want to buy a data pack", "data"),
        ("activate roaming please", "roaming"),
        ("රෝමිං ක්‍රියාත්මක කරන්න", "roaming"),
        ("டேட்டா பேக் வேண்டும்", "data"),
        ("activate something for me", None),
    ],
)
def test_who_wants_something_new_may_choose_from_the_catalogue(
    client: FlaskClient, said: str, category: str | None
) -> None:
    registered()
    conversation = opened(client)
    ask(client, conversation, said)
    (offer,) = offers(client, conversation)
    assert (offer["kind"], offer["category"]) == ("order", category)


def test_the_card_payment_page_is_told_where_there_is_one(app: Flask, client: FlaskClient) -> None:
    registered()
    bill = ids.new_id()
    invoice("invoice.issued", bill)
    app.extensions["sricare_settings"] = app.extensions["sricare_settings"].model_copy(
        update={"pay_link": "https://my.example.lk/pay?invoice={id}"}
    )
    conversation = opened(client)
    assert f"By card: https://my.example.lk/pay?invoice={bill}" in ask(client, conversation, "pay my bill")


@pytest.mark.parametrize(
    "link", ["javascript:alert({id})", "https://x.lk/pay", "https://x.lk/{id}/{x}", "{id}"]
)
def test_a_payment_page_that_leads_nowhere_is_refused_at_the_start(link: str) -> None:
    environment = {"CHAT_DATABASE_URL": "sqlite:///x", "RABBITMQ_URL": "amqp://x/", "JWKS_URL": "http://x/"}
    with pytest.raises(SettingsError, match="CHAT_PAY_LINK"):
        Settings.from_env(environment | {"CHAT_PORT": "1", "CHAT_PAY_LINK": link})
