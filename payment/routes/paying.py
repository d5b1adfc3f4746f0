"""Paying, step by step: intend, call the gateway, settle; each step is a transaction or a call, never both."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

from flask import Response, current_app
from sqlalchemy.orm import Session

from common import clock, ids
from common.db import reading, transaction
from common.errors import AppError, NotFound, ServiceUnavailable, ValidationFailed
from common.identity import identity
from common.money import Money
from common.web import reply, resumes, work_id
from payment import queries
from payment.cards import Card
from payment.errors import CardDeclined, InsufficientBalance, OtpInvalid, PaymentFailed
from payment.gateway import CardRefused, CardToken, GatewayDown, GatewayTrouble, Outcome, Verdict
from payment.models import MethodState, MethodType, Payment, PaymentState
from payment.routes.blueprint import gateways, settings
from payment.schemas import OTP_TRIES, PaymentOut, ProcessIn
from payment.use_cases import methods, payments
from payment.use_cases.payments import CardFacts, NotKnownYet, Wish

log = logging.getLogger(__name__)

POLL_S = 0.02


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
    with _left_in_vain(facts, card), transaction() as session:
        payments.check_wish(session, wish)
        payment = payments.begin_payment(session, wish, facts, awaits_reference=False)
        _keep_card(session, wish, facts, card if body.save_method else None)
    return _go_on(payment, card)


def _pay_from_wallet(wish: Wish) -> Response:
    with transaction() as session:
        payment = payments.pay_from_wallet(session, wish)
        if payment.state is not PaymentState.FAILED:
            return reply(PaymentOut.of(payment), 201)
    raise _refusal(payment)


def _accept(wish: Wish, facts: CardFacts | None, card: Card | None, *, save: bool) -> Response:
    """Take a payment whose order or invoice is not known yet: the worker charges it when the event arrives."""
    with _left_in_vain(facts, card), transaction() as session:
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
    try:
        gateway = gateways().choose()
        if not keep:
            return CardFacts(gateway.name, card.brand, card.last4)
        left = gateway.tokenise(card)
    except GatewayTrouble:
        raise ServiceUnavailable("The card gateway does not answer", retry_after=5) from None
    except CardRefused as refusal:
        raise CardDeclined(extra={"reason": str(refusal)}) from None
    method_id = ids.new_id() if body.save_method else None
    return CardFacts(gateway.name, left.brand, left.last4, left.token, method_id)


@contextmanager
def _left_in_vain(facts: CardFacts | None, card: Card | None) -> Iterator[None]:
    """Have a card that was left at the gateway forgotten when its payment is refused."""
    try:
        yield
    except AppError:
        if facts is not None and facts.token is not None and card is not None:
            with suppress(GatewayTrouble):
                gateways().named(facts.gateway).forget(facts.token)
        raise


def _saved_card(method_id: str) -> CardFacts:
    with reading() as session:
        method = queries.get_method_of(session, method_id, identity().user_id)
    if method.expired:
        raise ValidationFailed(
            errors=[{"field": "method.saved_method_id", "message": "the card has expired"}]
        )
    return CardFacts(method.gateway, method.brand, method.last4, method.token, method.id)


def _keep_card(session: Session, wish: Wish, facts: CardFacts | None, card: Card | None) -> None:
    """The card becomes a saved method when this payment is captured."""
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
