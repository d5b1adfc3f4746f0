"""HTTP in: `/api/payment`."""

import logging
import time
from datetime import timedelta

from flask import Blueprint, Response, current_app

from common import clock, ids
from common.db import PageQuery, reading, transaction
from common.errors import AppError, NotFound, ServiceUnavailable, ValidationFailed
from common.identity import identity
from common.money import Money
from common.web import operation, reply, reply_page, work_id
from payment import queries
from payment.cards import Card
from payment.config import Settings
from payment.errors import (
    AlreadyPaid,
    AmountMismatch,
    CardDeclined,
    InsufficientBalance,
    NoActionPending,
    NotPayable,
    OtpInvalid,
    PaymentFailed,
)
from payment.gateway import CardToken, Gateway, GatewayTrouble, Outcome, Verdict
from payment.models import MethodType, Payment, PaymentState
from payment.schemas import (
    OTP_TRIES,
    ConfirmIn,
    EntriesQuery,
    PaymentOut,
    ProcessIn,
    TopUpIn,
    WalletEntryOut,
    WalletOut,
    WalletQuery,
)
from payment.use_cases import payments
from payment.use_cases.payments import CardFacts, Wish

log = logging.getLogger(__name__)
routes = Blueprint("payment", __name__)

POLL_S = 0.02
PAYING = (CardDeclined, InsufficientBalance, PaymentFailed, AlreadyPaid, NotPayable, AmountMismatch, NotFound)


def _settings() -> Settings:
    found: Settings = current_app.extensions["sricare_settings"]
    return found


def _gateway() -> Gateway:
    found: Gateway = current_app.extensions["payment_gateway"]
    return found


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
    return _pay(body)


@routes.post("/wallet/top-ups")
@operation(
    "Top up the wallet by card",
    body=TopUpIn,
    returns={201: PaymentOut},
    roles=("customer",),
    idempotent=True,
    raises=(CardDeclined, PaymentFailed),
)
def post_top_up(body: TopUpIn) -> Response:
    return _pay(body.as_process())


def _pay(body: ProcessIn) -> Response:
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
        if wish.method_type is MethodType.SAVED:
            raise NotFound("There is no such saved method")
        if not known:
            return _accept(wish, card)
        if card is None:
            return _pay_from_wallet(wish)
        payment = _intend(wish, CardFacts(_gateway().name, card.brand, card.last4))
    return _go_on(payment, card)


def _look_around(wish: Wish) -> tuple[Payment | None, bool]:
    """What this request did before it died, if it did; and whether what it pays is known (and may be paid).

    Right after an order its event may still be on the way: that is waited for, outside any transaction.
    Raises NotFound, AlreadyPaid, NotPayable, AmountMismatch.
    """
    deadline = None
    while True:
        with reading() as session:
            payment = queries.find_payment(session, wish.payment_id)
            if payment is not None:
                return payment, True
            if wish.reference_id is None:
                _check_top_up(wish)
                return None, True
            payable = queries.find_due(session, wish.reference_type, wish.reference_id)
            if payable is not None:
                payments.check_payable(payable, user_id=wish.user_id, amount=wish.amount)
                return None, True
            if deadline is None:
                if not _young(wish.reference_id):
                    raise NotFound()
                patience = 0.0 if queries.events_cannot_arrive(session) else _settings().reference_wait_s
                deadline = time.monotonic() + patience
        if time.monotonic() >= deadline:
            return None, False
        time.sleep(POLL_S)


def _young(reference_id: str) -> bool:
    """Whether its event may still be on the way."""
    made_at = ids.made_at(reference_id)
    young = timedelta(seconds=_settings().reference_young_s)
    return made_at is not None and abs(clock.now() - made_at) <= young


def _check_top_up(wish: Wish) -> None:
    if wish.amount.currency != _settings().wallet_currency:
        raise ValidationFailed(
            errors=[{"field": "amount.currency", "message": f"wallets are in {_settings().wallet_currency}"}]
        )


def _intend(wish: Wish, facts: CardFacts) -> Payment:
    with transaction() as session:
        return payments.begin_payment(session, wish, facts, awaits_reference=False)


def _accept(wish: Wish, card: Card | None) -> Response:
    """Take a payment whose order or invoice is not known yet: the worker charges it when the event arrives."""
    facts = None
    if card is not None:
        left = _tokenise(card)
        facts = CardFacts(_gateway().name, left.brand, left.last4, left.token)
    with transaction() as session:
        payment = payments.begin_payment(session, wish, facts, awaits_reference=True)
        return reply(PaymentOut.of(payment), 201)


def _tokenise(card: Card) -> CardToken:
    try:
        return _gateway().tokenise(card)
    except GatewayTrouble:
        raise ServiceUnavailable("The card gateway does not answer", retry_after=5) from None


def _pay_from_wallet(wish: Wish) -> Response:
    with transaction() as session:
        payment = payments.pay_from_wallet(session, wish)
        if payment.state is not PaymentState.FAILED:
            return reply(PaymentOut.of(payment), 201)
    raise _refusal(payment)


def _go_on(payment: Payment, card: Card | None) -> Response:
    """From whatever state a payment of this request has reached to its answer."""
    if payment.state is PaymentState.PROCESSING and card is not None and not payment.awaits_reference:
        try:
            outcome = _gateway().charge(key=payment.id, amount=payment.amount, source=card)
        except GatewayTrouble as trouble:
            log.warning("payment %s: the gateway does not say (%s)", payment.id, trouble)
            outcome = Outcome(Verdict.PENDING)
        return _settle(payment, outcome)
    if payment.state is PaymentState.FAILED:
        raise _refusal(payment)
    return reply(PaymentOut.of(payment), 201)


def _settle(payment: Payment, outcome: Outcome, status: int = 201) -> Response:
    with transaction() as session:
        payment = payments.settle_charge(session, payment, outcome, action_s=_settings().action_s)
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
    if too_late is None:
        outcome = _gateway().confirm(key=payment.id, otp=otp)
        if outcome.verdict is not Verdict.ACTION_REQUIRED or payment.otp_tries < OTP_TRIES:
            return outcome
        too_late = "otp_failed"
    outcome = _gateway().cancel(key=payment.id)
    return Outcome(Verdict.CANCELLED, too_late) if outcome.verdict is Verdict.CANCELLED else outcome


@routes.get("/payments")
@operation("List payments", query=PageQuery, returns={200: PaymentOut}, roles=("customer",), page=True)
def list_payments(query: PageQuery) -> Response:
    with reading() as session:
        return reply_page(queries.list_payments(session, identity().user_id, query), PaymentOut)


@routes.get("/payments/<id:payment_id>")
@operation("One payment", returns={200: PaymentOut}, roles=("customer",), raises=(NotFound,))
def get_payment(payment_id: str) -> Response:
    with reading() as session:
        return reply(PaymentOut.of(queries.get_payment_of(session, payment_id, identity().user_id)))


@routes.get("/wallet")
@operation("The wallet's balance", query=WalletQuery, returns={200: WalletOut}, roles=("customer",))
def get_wallet(query: WalletQuery) -> Response:
    currency = query.currency or _settings().wallet_currency
    with reading() as session:
        return reply(WalletOut.of(queries.find_wallet(session, identity().user_id, currency), currency))


@routes.get("/wallet/entries")
@operation(
    "What came into and went out of the wallet",
    query=EntriesQuery,
    returns={200: WalletEntryOut},
    roles=("customer",),
    page=True,
)
def list_wallet_entries(query: EntriesQuery) -> Response:
    currency = query.currency or _settings().wallet_currency
    with reading() as session:
        page = queries.list_wallet_entries(session, identity().user_id, currency, query)
        return reply_page(page, WalletEntryOut)
