"""The rule bot: an intent from the table, an answer from the facts. What it does not know it does not say."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from chat.bot.intents import Intent, best, category_in
from chat.bot.phrases import say
from chat.bot.responder import Answer, OrderOffer, PayOffer, Question
from chat.models import Service
from common.clock import OPERATOR_ZONE
from common.money import Money

HAND_OVER = "hand_over"
"""What a yes does after the bot has offered a person."""
CONFIRM = "confirm"
"""The bot has offered something that is confirmed with a button."""
SUMMARY_LENGTH = 1000
_SCRIPTS = {"si": range(0x0D80, 0x0E00), "ta": range(0x0B80, 0x0C00)}


class RuleBot:
    """The embedded `Responder`."""

    def answer(self, question: Question) -> Answer:
        language = language_in(question.text, question.language)
        intent = best(question.text)
        if intent is Intent.AGENT or (intent is Intent.YES and question.pending == HAND_OVER):
            return _hand_over(question, language, "asked for a person")
        if intent is Intent.NO and question.pending is not None:
            return Answer(say("as_you_like", language))
        if intent is Intent.YES and question.pending == CONFIRM:
            return Answer(say("use_the_button", language), pending=CONFIRM)
        if intent is Intent.BUY:
            return _buy(question, language)
        if intent is Intent.HOW_TO_PAY and question.facts.open_invoices:
            return _pay(question, language)
        if intent in _ANSWERS:
            return Answer(_ANSWERS[intent](question, language))
        if question.pending == HAND_OVER:
            return _hand_over(question, language, "not understood twice")
        return Answer(say("unsure", language), pending=HAND_OVER)


def language_in(text: str, usual: str) -> str:
    """Who writes in Sinhala or Tamil letters is answered in them; Latin letters get the customer's usual language,
    but English where that is written in letters of its own."""
    for language, letters in _SCRIPTS.items():
        if any(ord(char) in letters for char in text):
            return language
    return (
        usual
        if usual not in _SCRIPTS or not any(char.isascii() and char.isalpha() for char in text)
        else "en"
    )


def _hand_over(question: Question, language: str, why: str) -> Answer:
    asked = question.text.strip()[:SUMMARY_LENGTH]
    return Answer(say("handing_over", language), hand_over=True, summary=f"Bot: {why}. Last words: {asked}")


def _balance(question: Question, language: str) -> str:
    facts = question.facts
    if facts.user is None and facts.wallet is None:
        return say("not_known_yet", language)
    balance = facts.wallet.balance if facts.wallet else Money(amount_minor=0, currency="LKR")
    lines = [say("balance", language, amount=balance)]
    if facts.open_invoices:
        lines.append(say("bills_total", language, count=len(facts.open_invoices), amount=_total(question)))
    if facts.barred:
        lines.append(say("barred", language))
    return "\n".join(lines)


def _bill(question: Question, language: str) -> str:
    if not question.facts.open_invoices:
        return say("no_bill", language)
    return "\n".join(
        say(
            "bill" if found.due_on else "bill_without_date",
            language,
            number=found.number,
            amount=found.amount_due,
            due_on=found.due_on,
        )
        for found in question.facts.open_invoices
    )


def _data(question: Question, language: str) -> str:
    lines = [
        line
        for service in question.facts.services
        for allowance in service.allowances
        if allowance["kind"] == "data_mb"
        for line in [_allowance(service, allowance, language)]
    ]
    return "\n".join(lines) or say("no_data", language)


def _allowance(service: Service, allowance: dict[str, Any], language: str) -> str:
    left = max(0, allowance["granted"] - allowance["used"])
    told_at = datetime.fromisoformat(allowance["as_of"]) if "as_of" in allowance else service.as_of
    line = say(
        "data",
        language,
        name=service.offering_name,
        left=f"{left:,}",
        granted=f"{allowance['granted']:,}",
        as_of=_local(told_at),
    )
    if service.expires_at is None:
        return line
    return f"{line} {say('valid_until', language, until=_local(service.expires_at))}"


def _order(question: Question, language: str) -> str:
    if not question.facts.orders:
        return say("no_order", language)
    return "\n".join(
        say(
            "order", language, number=found.number, name=found.offering_name,
            state=say(f"order_{found.state}", language),
        )
        for found in question.facts.orders[:3]
    )  # fmt: skip


def _pay(question: Question, language: str) -> Answer:
    """The bill that is due first can be paid here; each of the others when it is its turn."""
    first = question.facts.open_invoices[0]
    link = question.pay_link.format(id=first.id) if question.pay_link else None
    lines = [_bill(question, language), say("pay_here", language, number=first.number)]
    lines += [say("pay_link", language, link=link)] if link else [say("how_to_pay", language)]
    offer = PayOffer(first.id, first.number, first.amount_due, link)
    return Answer("\n".join(lines), pending=CONFIRM, offer=offer)


def _buy(question: Question, language: str) -> Answer:
    offer = OrderOffer(category_in(question.text))
    return Answer(say("choose_offering", language), pending=CONFIRM, offer=offer)


def _roaming(question: Question, language: str) -> str:
    packs = [found.offering_name for found in question.facts.services if found.category == "roaming"]
    return say("roaming_on", language, names=", ".join(packs)) if packs else say("roaming", language)


def _total(question: Question) -> Money:
    first, *others = (found.amount_due for found in question.facts.open_invoices)
    for amount in others:
        first = first + amount
    return first


def _local(at: datetime) -> str:
    return at.astimezone(OPERATOR_ZONE).strftime("%Y-%m-%d %H:%M")


_ANSWERS: dict[Intent | None, Callable[[Question, str], str]] = {
    Intent.BALANCE: _balance,
    Intent.BILL: _bill,
    Intent.DUE_DATE: _bill,
    Intent.DATA: _data,
    Intent.ORDER: _order,
    Intent.HOW_TO_PAY: lambda _, language: say("how_to_pay", language),
    Intent.ROAMING: _roaming,
    Intent.HOURS: lambda question, language: say("hours", language, hours=question.hours),
    Intent.GREETING: lambda _, language: say("greeting", language),
    Intent.THANKS: lambda _, language: say("welcome", language),
}
