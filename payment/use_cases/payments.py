"""Payments from their beginning to their outcome. Gateways are called by the caller, between two of these."""

import logging
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import bindparam, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from common import clock
from common.db import Statement, wake
from common.db.session import NewEvent
from common.db.transactions import key_taken
from common.errors import NotFound
from common.money import Money
from payment import events, queries
from payment.errors import AlreadyPaid, AmountMismatch, NoActionPending, NotPayable
from payment.gateway import Outcome, Verdict
from payment.models import (
    Account,
    EntryReason,
    MethodType,
    Payable,
    PayableState,
    Payment,
    PaymentState,
    ReferenceType,
    changed_one,
    give_payable_back,
    insert_last,
    move_payment,
    take_payable,
)
from payment.schemas import OTP_TRIES
from payment.use_cases import methods, recharges, wallets
from payment.use_cases.refunds import return_stray_capture, start_refund
from payment.use_cases.timing import FIRST, backoff

log = logging.getLogger(__name__)

ABANDONED_AFTER = timedelta(seconds=30)
"""A payment whose request has not settled it by now has died (longer than the lease of an idempotency claim)."""
FIRST_LOOK_FOR_REFERENCE = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Wish:
    """Who wants to pay what how. `payment_id` is the id that the payment gets."""

    payment_id: str
    user_id: str
    reference_type: ReferenceType
    reference_id: str | None
    amount: Money
    method_type: MethodType


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What is kept of a card. The token only when the charge comes later, or the card is (to be) saved; `left_key` when
    the card has just been left for that."""

    gateway: str
    brand: str
    last4: str
    token: str | None = None
    saved_method_id: str | None = None
    left_key: str | None = None


class NotKnownYet(Exception):
    """The event of the order or invoice has not arrived."""


def check_wish(session: Session, wish: Wish) -> None:
    """Raises NotKnownYet, NotFound (another's), AlreadyPaid, NotPayable, AmountMismatch."""
    if wish.reference_id is None:
        return
    payable = queries.find_due(session, wish.reference_type, wish.reference_id)
    if payable is None:
        raise NotKnownYet
    check_payable(payable, user_id=wish.user_id, amount=wish.amount)


def check_payable(payable: queries.Due, *, user_id: str, amount: Money) -> None:
    """Raises NotFound (another's), AlreadyPaid, NotPayable, AmountMismatch."""
    if payable.owner_id != user_id:
        raise NotFound()
    if payable.state is PayableState.PAID:
        raise AlreadyPaid()
    if payable.state is PayableState.CLOSED:
        raise NotPayable()
    if payable.amount != amount:
        raise AmountMismatch(f"The amount due is {payable.amount}")


def begin_payment(session: Session, wish: Wish, card: CardFacts | None, *, awaits_reference: bool) -> Payment:
    """A `processing` payment that holds its order or invoice; written when the transaction ends (`holds_already`)."""
    payment = _new(wish, card)
    payment.awaits_reference = awaits_reference
    payment.check_at = clock.now() + (FIRST_LOOK_FOR_REFERENCE if awaits_reference else ABANDONED_AFTER)
    insert_last(session, payment)
    return payment


def paid_from_wallet(wish: Wish) -> Payment:
    """The payment as it is when `pay_from_wallet` succeeds."""
    payment = _new(wish, None)
    payment.state, payment.completed_at = PaymentState.COMPLETED, payment.created_at
    return payment


def pay_from_wallet(session: Session, wish: Wish, payment: Payment, event: NewEvent) -> bool:
    """The whole payment at once, with the event of its success; False, and it is `failed`, when the balance is too low.
    As in `begin_payment` it is written when the transaction ends.

    Raises NotKnownYet, NotFound, AlreadyPaid, NotPayable, AmountMismatch.
    """
    if not take_payable(session, payment):
        check_wish(session, wish)
        if not take_payable(session, payment):  # once more: its event may have come between the two
            raise AlreadyPaid()
    paid = _debit(session, payment)
    if not paid:
        payment.state, payment.completed_at = PaymentState.FAILED, None
        payment.failure_reason = "insufficient_balance"
        event = events.payment_failed(payment)
    insert_last(session, payment)
    session.add(event)
    return paid


def holds_already(error: IntegrityError) -> bool:
    """Whether a transaction with a new payment failed because another payment holds its order or invoice."""
    return key_taken(error, Payment.__tablename__)


def settle_from_wallet(session: Session, payment: Payment) -> None:
    """Take the money of a `processing` wallet payment whose reference is known by now."""
    if not take_payable(session, payment):
        fail_payment(session, payment, AlreadyPaid.code)
    elif not _debit(session, payment):
        fail_payment(session, payment, "insufficient_balance")
    elif move_payment(session, payment, PaymentState.COMPLETED, completed_at=clock.now(), check_at=None):
        session.add(events.payment_completed(payment))
    else:
        raise AlreadyPaid()


def _debit(session: Session, payment: Payment) -> bool:
    """The price of what was taken, out of the wallet; False, and it is given back, when the balance is too low."""
    assert payment.reference_id is not None
    entry = wallets.debit(
        session,
        user_id=payment.user_id,
        amount=payment.amount,
        target=Account.SALES,
        reason=EntryReason.PAYMENT,
        source_id=payment.id,
    )
    if entry is None:
        give_payable_back(session, payment.reference_id, payment.id)
    return entry is not None


def settle_charge(session: Session, payment: Payment, outcome: Outcome, *, action_s: int) -> Payment:
    """Write down what the gateway said; the payment as it then is. No-op when it was settled before."""
    match outcome.verdict:
        case Verdict.CAPTURED:
            return _complete(session, payment)
        case Verdict.ACTION_REQUIRED:
            return _require_action(session, payment, timedelta(seconds=action_s), outcome.url)
        case Verdict.DECLINED | Verdict.CANCELLED:
            return fail_payment(session, payment, outcome.reason or outcome.verdict.value)
        case Verdict.PENDING:
            return leave_unknown(session, payment)


def leave_unknown(session: Session, payment: Payment) -> Payment:
    """The gateway did not say: the janitor will ask it. The payment as it then is."""
    found = session.get(Payment, payment.id, with_for_update=True, populate_existing=True)
    assert found is not None
    if found.state is PaymentState.REQUIRES_ACTION:
        move_payment(session, found, PaymentState.PROCESSING, check_at=clock.now() + FIRST)
    elif found.state is PaymentState.PROCESSING and found.checks == 0:
        found.check_at = clock.now() + FIRST
    return found


def fail_payment(session: Session, payment: Payment, reason: str) -> Payment:
    """No money is taken. No-op when it was settled before."""
    if not move_payment(session, payment, PaymentState.FAILED, failure_reason=reason[:50], check_at=None):
        found = _current(session, payment)
        if found.state is PaymentState.FAILED:
            found.check_at = None
        return found
    _drop_token(session, payment)
    if payment.saved_method_id is not None:
        methods.drop_pending_method(session, payment.saved_method_id)
    if payment.reference_type is ReferenceType.TOP_UP:
        recharges.end_recharge(session, payment)
    session.add(events.payment_failed(payment))
    return payment


def begin_confirmation(session: Session, *, payment_id: str, user_id: str) -> tuple[Payment, str | None]:
    """Count a try of the one-time password. With a reason: it is too late, the charge is to be given up.

    Raises NotFound, NoActionPending.
    """
    payment = session.get(Payment, payment_id, with_for_update=True)
    if payment is None or payment.user_id != user_id:
        raise NotFound()
    if payment.state is not PaymentState.REQUIRES_ACTION:
        raise NoActionPending()
    reason = reason_to_give_up(session, payment)
    if reason is None:
        payment.otp_tries += 1
    return payment, reason


def reason_to_give_up(session: Session, payment: Payment) -> str | None:
    """Why a payment that requires action cannot be confirmed any more, or None."""
    if payment.otp_tries >= OTP_TRIES:
        return "otp_failed"
    if payment.action_expires_at is not None and payment.action_expires_at <= clock.now():
        return "otp_expired"
    if payment.reference_id is not None:
        payable = session.get(Payable, payment.reference_id)
        if payable is not None and payable.state is not PayableState.OPEN:
            return "already_paid" if payable.state is PayableState.PAID else "not_payable"
    return None


def claim_payment(session: Session, payment_id: str) -> Payment | None:
    """Take a due payment for one look: the next comes only after the backoff. None when somebody else has it."""
    payment = session.get(Payment, payment_id, with_for_update=True)
    if payment is None or payment.check_at is None or payment.check_at > clock.now():
        return None
    payment.check_at = clock.now() + backoff(payment.checks)
    payment.checks += 1
    return payment


def admit_waiting(session: Session, payment: Payment, *, deadline_s: int) -> bool:
    """Whether a payment that waited for its order or invoice may be charged now.

    Otherwise it goes on waiting, fails, or (from the wallet) is settled here.
    """
    assert payment.reference_id is not None
    payable = queries.find_due(session, payment.reference_type, payment.reference_id)
    if payable is None:
        deadline = payment.created_at + timedelta(seconds=deadline_s)
        if clock.now() >= deadline:
            fail_payment(session, payment, "reference_unknown")
        elif payment.check_at is not None:
            payment.check_at = min(payment.check_at, deadline)
        return False
    try:
        check_payable(payable, user_id=payment.user_id, amount=payment.amount)
    except (NotFound, AlreadyPaid, NotPayable, AmountMismatch) as refusal:
        fail_payment(session, payment, refusal.code)
        return False
    payment.awaits_reference = False
    payment.checks = 0
    payment.check_at = clock.now() + ABANDONED_AFTER
    session.flush()
    if payment.method_type is MethodType.WALLET:
        settle_from_wallet(session, payment)
        return False
    return True


def _complete(session: Session, payment: Payment) -> Payment:
    in_time = payment.reference_id is None or take_payable(session, payment)
    if not move_payment(session, payment, PaymentState.COMPLETED, completed_at=clock.now(), check_at=None):
        return _not_completed(session, payment, took=in_time)
    _drop_token(session, payment)
    session.add(events.payment_completed(payment))
    if payment.saved_method_id is not None:
        methods.activate_method(session, payment.saved_method_id)
    if payment.reference_type is ReferenceType.TOP_UP:
        wallets.credit(
            session,
            user_id=payment.user_id,
            amount=payment.amount,
            source=Account.CARD_GATEWAY,
            reason=EntryReason.TOP_UP,
            source_id=payment.id,
        )
        recharges.end_recharge(session, payment)
        if wallets.is_closed(session, payment.user_id, payment.currency):
            start_refund(session, payment, reason="wallet_closed")
        return payment
    wallets.post_capture(session, payment)
    if not in_time:
        log.warning("payment %s came for something paid or closed: refunded", payment.id)
        start_refund(session, payment, reason="not_payable")
    return payment


def _drop_token(session: Session, payment: Payment) -> None:
    """A settled payment needs its card no more: one that was left for it alone is forgotten by its gateway."""
    if payment.gateway_token is not None and payment.saved_method_id is None:
        wake(session, "methods")
    elif payment.gateway_token is not None:
        methods.drop_token(session, payment)


def _not_completed(session: Session, payment: Payment, *, took: bool) -> Payment:
    """Settled before: nothing to do but to give back what it `took` in vain, unless the gateway captured what had
    failed."""
    found = _current(session, payment)
    if took and found.reference_id is not None:
        give_payable_back(session, found.reference_id, found.id)
    if found.state is PaymentState.FAILED:
        return_stray_capture(session, found)
    return found


def _require_action(session: Session, payment: Payment, time: timedelta, url: str | None) -> Payment:
    expires_at = clock.now() + time
    if not move_payment(
        session,
        payment,
        PaymentState.REQUIRES_ACTION,
        action_expires_at=expires_at,
        action_url=url,
        check_at=expires_at,
    ):
        return _looked_at(session, payment)
    session.add(events.payment_action_required(payment))
    return payment


def _looked_at(session: Session, payment: Payment) -> Payment:
    """Nothing has changed since it was asked to act: look again when its time is over."""
    found = _current(session, payment)
    if found.state is PaymentState.REQUIRES_ACTION:
        found.check_at = found.action_expires_at
    return found


def reroute_payment(session: Session, payment: Payment, gateway: str) -> None:
    """Its gateway is down and has never seen the charge: another one makes it. Raises AlreadyPaid when settled."""
    if not changed_one(session, _REROUTE, {"key": payment.id, "to": gateway, "before": payment.gateway}):
        raise AlreadyPaid()
    set_committed_value(payment, "gateway", gateway)


def _current(session: Session, payment: Payment) -> Payment:
    found = session.get(Payment, payment.id, populate_existing=True)
    assert found is not None
    return found


def _new(wish: Wish, card: CardFacts | None) -> Payment:
    payment = Payment()
    vars(payment).update(  # as if it had been read: what is written last needs no history, which costs 30 µs
        id=wish.payment_id,
        user_id=wish.user_id,
        reference_type=wish.reference_type,
        reference_id=wish.reference_id,
        amount_minor=wish.amount.amount_minor,
        currency=wish.amount.currency,
        refunded_minor=0,
        state=PaymentState.PROCESSING,
        method_type=wish.method_type,
        awaits_reference=False,
        released=False,
        otp_tries=0,
        checks=0,
        created_at=clock.now(),
    )
    if card is not None:
        payment.gateway, payment.gateway_token = card.gateway, card.token
        payment.brand, payment.last4 = card.brand, card.last4
        payment.saved_method_id = card.saved_method_id
    return payment


_REROUTE = Statement(
    update(Payment.__table__)  # type: ignore[arg-type]
    .where(
        Payment.id == bindparam("key"),
        Payment.gateway == bindparam("before"),
        Payment.state == PaymentState.PROCESSING,
    )
    .values(gateway=bindparam("to"))
)
