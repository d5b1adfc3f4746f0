"""What a bot is: a question with the facts in, an answer out."""

from dataclasses import dataclass
from typing import Literal, Protocol

from chat.bot.phrases import say
from chat.queries.accounts import Facts
from common.money import Money


@dataclass(frozen=True, slots=True)
class Question:
    """What the customer said since the bot's last word. `pending`: what the bot asked then, and a yes would do;
    `pay_link`: where bills are paid, with `{id}` for the bill's, or nothing."""

    text: str
    language: str
    facts: Facts
    hours: str
    pay_link: str
    pending: str | None = None


@dataclass(frozen=True, slots=True)
class PayOffer:
    """The customer may pay a bill, in the chat or at the link."""

    invoice_id: str
    number: str
    amount: Money
    link: str | None
    kind: Literal["pay"] = "pay"


@dataclass(frozen=True, slots=True)
class OrderOffer:
    """The customer may order something out of the catalogue; `category` None: anything."""

    category: str | None
    kind: Literal["order"] = "order"


Offer = PayOffer | OrderOffer


@dataclass(frozen=True, slots=True)
class Answer:
    """`hand_over`: a person is to take it from here, `summary` being the note for them.

    `offer` is what the customer's own client lets the customer do, after a confirmation and with the customer's token:
    no responder can order or pay.
    """

    text: str
    hand_over: bool = False
    pending: str | None = None
    summary: str = ""
    offer: Offer | None = None


class Responder(Protocol):
    """Called outside any transaction, so it may take its time; what it raises hands over to a person.

    Only `question.facts` may be told as facts.
    """

    def answer(self, question: Question) -> Answer: ...


class NoBot:
    """Where the bot has been switched off: who was still talking to it waits for a person."""

    def answer(self, question: Question) -> Answer:
        return Answer(say("handing_over", question.language), hand_over=True, summary="Bot: switched off.")
