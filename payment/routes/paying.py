"""Paying, step by step: intend, call the gateway, settle; each step is a transaction or a call, never both."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple

from flask import Response, current_app
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from common import clock, ids
from common.db import reading, transaction
from common.errors import AppError, NotFound, ServiceUnavailable, ValidationFailed
from common.identity import identity
from common.money import Money
from common.web import keep_reply, look_up_key, reply, resumes, work_id
from payment import events, queries
from payment.cards import Card
from payment.errors import AlreadyPaid, CardDeclined, InsufficientBalance, OtpInvalid, PaymentFailed
from payment.gateway import CardRefused, CardToken, GatewayDown, GatewayTrouble, Outcome, Verdict
from payment.gateway.routing import Guarded
from payment.models import LARGEST_BALANCE_MINOR, MethodState, MethodType, Payment, PaymentState
from payment.routes.blueprint import gateways, settings
from payment.schemas import OTP_TRIES, PaymentOut, ProcessIn
from payment.transactions import own_transaction
from payment.use_cases import methods, payments
from payment.use_cases.payments import CardFacts, NotKnownYet, Wish

log = logging.getLogger(__name__)

POLL_S = 0.02
_SILENT = "The card gateway does not answer"


def pay(body: ProcessIn) -> Response:
    """From a request to its answer. A repeated request goes on from where the first one died."""
    wish = Wish(
        payment_id=work_id(),
        user_id=identity().user_id,
        reference_type=body.reference.type,
        reference_id=body.reference.id,
        amount=Money(amount_minor=body.amount.amount_minor, currency=body.amount.currency),
        method_type=body.method.type,
    )
    card = body.method.card.card() if body.method.card else None
    if resumes():
        with reading() as session:
            begun = session.get(Payment, wish.payment_id)
        if begun is not None:
            return _go_on(begun, card)
    if wish.reference_id is None:
        _check_top_up(wish)
    try:
        return _pay_known(wish, body, card)
    except NotKnownYet:
        look_up_key()
        if _turns_up(wish):
            return _pay_known(wish, body, card)
    return _accept(wish, _card_facts(body, card, keep=True), card, save=body.save_method)


def confirm(payment_id: str, otp: str) -> Response:
    """Give the bank's password to the gateway. Raises what the gateway's answer comes to."""
    with transaction() as session:
        payment, too_late = payments.begin_confirmation(
            session, payment_id=payment_id, user_id=identity().user_id
        )
    try:
        outcome = _confirm(payment, otp, too_late)
    except GatewayTrouble as trouble:
        log.warning("payment %s: the gateway does not say (%s)", payment.id, trouble)
        outcome = Outcome(Verdict.PENDING)
    if outcome.verdict is Verdict.ACTION_REQUIRED:
        raise OtpInvalid(extra={"tries_left": OTP_TRIES - payment.otp_tries})
    return _settle(payment, outcome, 200)


def _confirm(payment: Payment, otp: str, too_late: str | None) -> Outcome:
    """The gateway's word on a password; after the last wrong one, or too late, the charge is called off."""
    gateway = gateways().named(payment.gateway)
    if too_late is None:
        outcome = gateway.confirm(key=payment.id, amount=payment.amount, otp=otp)
        if outcome.verdict is not Verdict.ACTION_REQUIRED or payment.otp_tries < OTP_TRIES:
            return outcome
        too_late = "otp_failed"
    outcome = gateway.cancel(key=payment.id, amount=payment.amount)
    return Outcome(Verdict.CANCELLED, too_late) if outcome.verdict is Verdict.CANCELLED else outcome


def _pay_known(wish: Wish, body: ProcessIn, card: Card | None) -> Response:
    """Raises NotKnownYet, with nothing done, while the event of the order or invoice has not arrived."""
    if wish.method_type is MethodType.WALLET:
        return _pay_from_wallet(wish)
    if body.save_method:  # before the card is left at the gateway
        with reading() as session:
            payments.check_wish(session, wish)
    facts = _card_facts(body, card, keep=body.save_method)
    with _intending() as session:
        payments.check_wish(session, wish)
        payment = payments.begin_payment(session, wish, facts, awaits_reference=False)
        _keep_card(session, wish, facts, card if body.save_method else None)
    return _go_on(payment, card)


def _pay_from_wallet(wish: Wish) -> Response:
    payment = payments.paid_from_wallet(wish)
    answer, event = reply(PaymentOut.of(payment), 201), events.payment_completed(payment)
    with _intending() as session:  # all that takes time is done by now: on SQLite nobody else can pay in here
        if payments.pay_from_wallet(session, wish, payment, event):
            return keep_reply(answer)
    raise _refusal(payment)


@contextmanager
def _intending() -> Iterator[Session]:
    """A transaction that begins a payment. Raises AlreadyPaid when another one holds the order or invoice."""
    try:
        with transaction() as session:
            yield session
    except IntegrityError as error:
        raise AlreadyPaid() if payments.holds_already(error) else error from None


def _accept(wish: Wish, facts: CardFacts | None, card: Card | None, *, save: bool) -> Response:
    """Take a payment whose order or invoice is not known yet: the worker charges it when the event arrives."""
    with _intending() as session:
        payment = payments.begin_payment(session, wish, facts, awaits_reference=True)
        _keep_card(session, wish, facts, card if save else None)
        return reply(PaymentOut.of(payment), 201)


def _card_facts(body: ProcessIn, card: Card | None, *, keep: bool) -> CardFacts | None:
    """What is kept of the card; with `keep` it is left at the gateway as a token. None for the wallet.

    Raises NotFound, ValidationFailed, CardDeclined, ServiceUnavailable.
    """
    if body.method.saved_method_id is not None:
        return _saved_card(body.method.saved_method_id)
    if card is None:
        return None
    if not keep:
        return CardFacts(_open_gateway().name, card.brand, card.last4)
    left = leave_card(card)
    token, method_id = left.token, ids.new_id() if body.save_method else None
    return CardFacts(left.gateway, token.brand, token.last4, token.token, method_id, left.key)


class LeftCard(NamedTuple):
    """A card at a gateway, under the key by which it was noted."""

    key: str
    gateway: str
    token: CardToken


def leave_card(card: Card) -> LeftCard:
    """Leave a card at a gateway as a token. That is noted before, so that the worker has it dropped there unless a
    transaction takes it (`methods.take_card`). Raises CardDeclined, ServiceUnavailable."""
    look_up_key()
    gateway, key = _open_gateway(), ids.new_id()
    with own_transaction() as session:
        methods.note_card(session, key=key, gateway=gateway.name)
    try:
        return LeftCard(key, gateway.name, gateway.tokenise(card, key=key))
    except GatewayTrouble:
        raise ServiceUnavailable(_SILENT, retry_after=5) from None
    except CardRefused as refusal:
        raise CardDeclined(extra={"reason": str(refusal)}) from None


def _open_gateway() -> Guarded:
    try:
        return gateways().choose()
    except GatewayTrouble:
        raise ServiceUnavailable(_SILENT, retry_after=5) from None


def _saved_card(method_id: str) -> CardFacts:
    with reading() as session:
        method = queries.get_method_of(session, method_id, identity().user_id)
    if method.expired:
        raise ValidationFailed(
            errors=[{"field": "method.saved_method_id", "message": "the card has expired"}]
        )
    return CardFacts(method.gateway, method.brand, method.last4, method.token, method.id)


def _keep_card(session: Session, wish: Wish, facts: CardFacts | None, card: Card | None) -> None:
    """A card that was left for this payment is its own now; one to be saved becomes a method when it is captured."""
    if facts is not None and facts.left_key is not None:
        methods.take_card(session, facts.left_key)
    if card is None or facts is None or facts.saved_method_id is None or facts.token is None:
        return
    methods.save_method(
        session,
        method_id=facts.saved_method_id,
        user_id=wish.user_id,
        gateway=facts.gateway,
        card=card,
        left=CardToken(facts.token, facts.brand, facts.last4),
        state=MethodState.PENDING,
    )


def _turns_up(wish: Wish) -> bool:
    """Whether what is paid becomes known in time: right after an order its event may still be on the way, which is
    waited for outside any transaction. Raises NotFound for what cannot be on its way."""
    assert wish.reference_id is not None
    made_at = ids.made_at(wish.reference_id)
    young = timedelta(seconds=settings().reference_young_s)
    if made_at is None or abs(clock.now() - made_at) > young:
        raise NotFound()
    with reading() as session:
        if queries.events_cannot_arrive(session):
            return False
    waiters: threading.BoundedSemaphore = current_app.extensions["payment_waiters"]
    if not waiters.acquire(blocking=False):  # made-up ids must not hold all threads
        return False
    try:
        deadline = time.monotonic() + settings().reference_wait_s
        while time.monotonic() < deadline:
            time.sleep(POLL_S)
            with reading() as session:
                if queries.find_due(session, wish.reference_type, wish.reference_id) is not None:
                    return True
        return False
    finally:
        waiters.release()


def _check_top_up(wish: Wish) -> None:
    if wish.amount.currency not in settings().wallet_currencies:
        raise ValidationFailed(
            errors=[{"field": "amount.currency", "message": "there are no wallets in this currency"}]
        )
    with reading() as session:
        wallet = queries.find_wallet(session, wish.user_id, wish.amount.currency)
    if (wallet.balance_minor if wallet else 0) + wish.amount.amount_minor > LARGEST_BALANCE_MINOR:
        raise ValidationFailed(errors=[{"field": "amount", "message": "the wallet would hold too much"}])


def _go_on(payment: Payment, card: Card | None) -> Response:
    """From whatever state a payment of this request has reached to its answer."""
    source = payment.gateway_token or card
    if payment.state is PaymentState.PROCESSING and source is not None and not payment.awaits_reference:
        return _settle(payment, _charge(payment, source), 201)
    if payment.state is PaymentState.FAILED:
        raise _refusal(payment)
    return reply(PaymentOut.of(payment), 201)


def _charge(payment: Payment, source: Card | str) -> Outcome:
    """Charge at the payment's gateway; at another one when that is down and has certainly not seen the charge."""
    try:
        try:
            return (
                gateways().named(payment.gateway).charge(key=payment.id, amount=payment.amount, source=source)
            )
        except GatewayDown:
            if isinstance(source, str):  # a token is worth nothing elsewhere
                raise
            other = gateways().choose(but=payment.gateway)
            with transaction() as session:
                payments.reroute_payment(session, payment, other.name)
            return other.charge(key=payment.id, amount=payment.amount, source=source)
    except GatewayTrouble as trouble:
        log.warning("payment %s: the gateway does not say (%s)", payment.id, trouble)
        return Outcome(Verdict.PENDING)


def _settle(payment: Payment, outcome: Outcome, status: int) -> Response:
    with transaction() as session:
        payment = payments.settle_charge(session, payment, outcome, action_s=settings().action_s)
        if payment.state is not PaymentState.FAILED:
            return reply(PaymentOut.of(payment), status)
    raise _refusal(payment)


def _refusal(payment: Payment) -> AppError:
    """What a failed payment is answered with; its row is kept, and so is the answer for this key."""
    out = PaymentOut.of(payment)
    extra = {"payment": out.model_dump(mode="json"), "reason": payment.failure_reason}
    detail = out.failure.message if out.failure else None
    if payment.failure_reason == "insufficient_balance":
        return InsufficientBalance(detail, extra=extra)
    if payment.method_type is MethodType.WALLET or payment.failure_reason in _NOT_THE_CARD:
        return PaymentFailed(detail, extra=extra)
    return CardDeclined(detail, extra=extra)


_NOT_THE_CARD = frozenset(
    {"abandoned", "amount_mismatch", "not_found", "already_paid", "not_payable", "reference_unknown"}
)
