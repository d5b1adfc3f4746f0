"""What a bot is: a question with the facts in, an answer out."""

from dataclasses import dataclass
from typing import Protocol

from chat.queries.accounts import Facts


@dataclass(frozen=True, slots=True)
class Question:
    """What the customer said since the bot's last word. `pending`: what the bot asked then, and a yes would do."""

    text: str
    language: str
    facts: Facts
    hours: str
    pending: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """`hand_over`: a person is to take it from here, `summary` being the note for them."""

    text: str
    hand_over: bool = False
    pending: str | None = None
    summary: str = ""


class Responder(Protocol):
    """Called outside any transaction, so it may take its time; what it raises hands over to a person.

    Only `question.facts` may be told as facts.
    """

    def answer(self, question: Question) -> Answer: ...
