"""Paying: intend, call the gateway, settle."""

import logging
import threading
import time
from datetime import timedelta

from flask import Response, current_app
from sqlalchemy.orm import Session

from common import clock, ids
from common.db import PageQuery, reading, transaction
from common.errors import AppError, NotFound, ServiceUnavailable, ValidationFailed
from common.identity import identity
from common.money import Money
from common.web import operation, reply, reply_page, work_id
from payment import queries
from payment.cards import Card
from payment.errors import (
    AlreadyPaid,
    AmountMismatch,
    CardDeclined,
    InsufficientBalance,
    NoActionPending,
    NoReceipt,
    NotPayable,
    OtpInvalid,
    PaymentFailed,
)
from payment.gateway import CardRefused, CardToken, GatewayDown, GatewayTrouble, Outcome, Verdict
from payment.models import MethodState, MethodType, Payment, PaymentState
from payment.receipts import render_receipt
from payment.routes.blueprint import gateways, routes, settings
from payment.schemas import (
    OTP_TRIES,
    ConfirmIn,
    PaymentOut,
    ProcessIn,
    ReceiptQuery,
    RefundsOut,
)
from payment.use_cases import methods, payments
from payment.use_cases.payments import CardFacts, Wish

log = logging.getLogger(__name__)

POLL_S = 0.02
STAFF = ("agent", "admin")
READERS = ("customer", *STAFF)
PAYING = (CardDeclined, InsufficientBalance, PaymentFailed, AlreadyPaid, NotPayable, AmountMismatch, NotFound)


def reader() -> str | None:
    """Whose payments the caller may read: their own, or (staff) everybody's."""
    caller = identity()
    return None if set(STAFF) & set(caller.roles) else caller.user_id


@routes.post("/process")
@operation(
    "Pay an order, an invoice or a top-up",
    body=ProcessIn,
    returns={201: PaymentOut},
    roles=("customer",),
    idempotent=True,
    raises=PAYING,
)
def post_process(body: ProcessIn) -> Response:
    """The answer's `state` says how far it is: `completed`, `requires_action`, or `processing` when the outcome comes
    later (the gateway did not answer in time, or the order's event has not arrived)."""
    return pay(body)


def pay(body: ProcessIn) -> Response:
    """Intend, call the gateway, settle. A repeated request goes on from where the first one died."""
    wish = Wish(
        payment_id=work_id(),
        user_id=identity().user_id,
        reference_type=body.reference.type,
        reference_id=body.reference.id,
        amount=Money(amount_minor=body.amount.amount_minor, currency=body.amount.currency),
        method_type=body.method.type,
    )
    card = body.method.card.card() if body.method.card else None
    payment, known = _look_around(wish)
    if payment is None:
        if known and wish.method_type is MethodType.WALLET:
            return _pay_from_wallet(wish)
        facts = _card_facts(body, card, keep=body.save_method or not known)
        if not known:
            return _accept(wish, facts, card if body.save_method else None)
        payment = _intend(wish, facts, card if body.save_method else None)
    return _go_on(payment, card)


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


def _saved_card(method_id: str) -> CardFacts:
    with reading() as session:
        method = queries.get_method_of(session, method_id, identity().user_id)
    if method.expired:
        raise ValidationFailed(
            errors=[{"field": "method.saved_method_id", "message": "the card has expired"}]
        )
    return CardFacts(method.gateway, method.brand, method.last4, method.token, method.id)


def _look_around(wish: Wish) -> tuple[Payment | None, bool]:
    """What this request did before it died, if it did; and whether what it pays is known (and may be paid).

    Right after an order its event may still be on the way: that is waited for, outside any transaction.
    Raises NotFound, AlreadyPaid, NotPayable, AmountMismatch.
    """
    with reading() as session:
        payment = queries.find_payment(session, wish.payment_id)
        if payment is not None:
            return payment, True
        if wish.reference_id is None:
            _check_top_up(wish)
            return None, True
        if _due(session, wish):
            return None, True
        if not _young(wish.reference_id):
            raise NotFound()
        in_vain = queries.events_cannot_arrive(session)
    return None, not in_vain and _wait_for_reference(wish)


def _due(session: Session, wish: Wish) -> bool:
    assert wish.reference_id is not None
    payable = queries.find_due(session, wish.reference_type, wish.reference_id)
    if payable is not None:
        payments.check_payable(payable, user_id=wish.user_id, amount=wish.amount)
    return payable is not None


def _wait_for_reference(wish: Wish) -> bool:
    """Whether it turned up in time. Only a few requests of a process wait: made-up ids must not hold its threads."""
    waiters: threading.BoundedSemaphore = current_app.extensions["payment_waiters"]
    if not waiters.acquire(blocking=False):
        return False
    try:
        deadline = time.monotonic() + settings().reference_wait_s
        while time.monotonic() < deadline:
            time.sleep(POLL_S)
            with reading() as session:
                if _due(session, wish):
                    return True
        return False
    finally:
        waiters.release()


def _young(reference_id: str) -> bool:
    """Whether its event may still be on the way."""
    made_at = ids.made_at(reference_id)
    young = timedelta(seconds=settings().reference_young_s)
    return made_at is not None and abs(clock.now() - made_at) <= young


def _check_top_up(wish: Wish) -> None:
    if wish.amount.currency not in settings().wallet_currencies:
        raise ValidationFailed(
            errors=[{"field": "amount.currency", "message": "there are no wallets in this currency"}]
        )


def _intend(wish: Wish, facts: CardFacts | None, save: Card | None) -> Payment:
    assert facts is not None
    with transaction() as session:
        payment = payments.begin_payment(session, wish, facts, awaits_reference=False)
        _keep_card(session, wish, facts, save)
        return payment


def _accept(wish: Wish, facts: CardFacts | None, save: Card | None) -> Response:
    """Take a payment whose order or invoice is not known yet: the worker charges it when the event arrives."""
    with transaction() as session:
        payment = payments.begin_payment(session, wish, facts, awaits_reference=True)
        _keep_card(session, wish, facts, save)
        return reply(PaymentOut.of(payment), 201)


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


def _pay_from_wallet(wish: Wish) -> Response:
    with transaction() as session:
        payment = payments.pay_from_wallet(session, wish)
        if payment.state is not PaymentState.FAILED:
            return reply(PaymentOut.of(payment), 201)
    raise _refusal(payment)


def _go_on(payment: Payment, card: Card | None) -> Response:
    """From whatever state a payment of this request has reached to its answer."""
    source = payment.gateway_token or card
    if payment.state is PaymentState.PROCESSING and source is not None and not payment.awaits_reference:
        return _settle(payment, _charge(payment, source))
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


def _settle(payment: Payment, outcome: Outcome, status: int = 201) -> Response:
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


@routes.post("/payments/<id:payment_id>/confirm")
@operation(
    "Give the bank's one-time password",
    body=ConfirmIn,
    returns={200: PaymentOut},
    roles=("customer",),
    raises=(NotFound, NoActionPending, OtpInvalid, CardDeclined, PaymentFailed),
)
def post_confirm(payment_id: str, body: ConfirmIn) -> Response:
    """Three tries in five minutes; a wrong one answers 422 `otp_invalid`, the last one 402 `card_declined`."""
    with transaction() as session:
        payment, too_late = payments.begin_confirmation(
            session, payment_id=payment_id, user_id=identity().user_id
        )
    try:
        outcome = _confirm(payment, body.otp.get_secret_value(), too_late)
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


@routes.get("/payments")
@operation("List payments", query=PageQuery, returns={200: PaymentOut}, roles=("customer",), page=True)
def list_payments(query: PageQuery) -> Response:
    with reading() as session:
        return reply_page(queries.list_payments(session, identity().user_id, query), PaymentOut)


@routes.get("/payments/<id:payment_id>")
@operation("One payment", returns={200: PaymentOut}, roles=READERS, raises=(NotFound,))
def get_payment(payment_id: str) -> Response:
    with reading() as session:
        return reply(PaymentOut.of(queries.get_payment_of(session, payment_id, reader())))


@routes.get("/payments/<id:payment_id>/receipt")
@operation(
    "The receipt as PDF",
    query=ReceiptQuery,
    returns={200: None},
    roles=READERS,
    raises=(NotFound, NoReceipt),
    content_type="application/pdf",
)
def get_receipt(payment_id: str, query: ReceiptQuery) -> Response:
    with reading() as session:
        payment = queries.get_payment_of(session, payment_id, reader())
        refunds = queries.list_refunds(session, payment.id)
    return reply(
        render_receipt(payment, refunds, operator=settings().operator_name, language=query.language),
        content_type="application/pdf",
        headers={"Content-Disposition": f'inline; filename="receipt-{payment.id}.pdf"'},
    )


@routes.get("/payments/<id:payment_id>/refunds")
@operation("What went back of a payment", returns={200: RefundsOut}, roles=READERS, raises=(NotFound,))
def list_refunds(payment_id: str) -> Response:
    with reading() as session:
        payment = queries.get_payment_of(session, payment_id, reader())
        return reply(RefundsOut.of(queries.list_refunds(session, payment.id)))
