"""Topping up a wallet by itself from a saved card."""

from sqlalchemy import update
from sqlalchemy.orm import Session

from common import clock, ids
from common.db import wake
from payment.models import (
    MethodState,
    MethodType,
    Payment,
    PaymentState,
    ReferenceType,
    SavedMethod,
    Wallet,
)

GIVE_UP_AFTER = 3
"""Failed recharges in a row: then it is switched off, and the customer (who was told of each) decides."""


def begin_recharge(session: Session, wallet_id: str) -> None:
    """A top-up for the worker to charge. No-op while another one is on its way, or without a usable card."""
    wallet = session.get(Wallet, wallet_id, with_for_update=True, populate_existing=True)
    if wallet is None or wallet.recharging_by is not None or wallet.recharge_amount_minor is None:
        return
    method = session.get(SavedMethod, wallet.recharge_method_id) if wallet.recharge_method_id else None
    if method is None or method.state is not MethodState.ACTIVE or method.expired:
        wallet.recharge_below_minor = None
        return
    payment = Payment(
        id=ids.new_id(),
        user_id=wallet.user_id,
        reference_type=ReferenceType.TOP_UP,
        amount_minor=wallet.recharge_amount_minor,
        currency=wallet.currency,
        refunded_minor=0,
        state=PaymentState.PROCESSING,
        method_type=MethodType.SAVED,
        brand=method.brand,
        last4=method.last4,
        gateway=method.gateway,
        gateway_token=method.token,
        saved_method_id=method.id,
        awaits_reference=False,
        released=False,
        otp_tries=0,
        checks=0,
        check_at=clock.now(),
    )
    session.add(payment)
    wallet.recharging_by = payment.id
    session.flush()
    wake(session, "payments")


def end_recharge(session: Session, payment: Payment) -> None:
    """A top-up from a saved card is settled; after a recharge the next may begin. Failures in a row switch it off."""
    failed = payment.state is PaymentState.FAILED
    failures = Wallet.recharge_failures + 1 if failed else 0
    session.execute(
        update(Wallet)
        .where(Wallet.recharging_by == payment.id, Wallet.user_id == payment.user_id)
        .values(recharging_by=None, recharge_failures=failures),
        execution_options={"synchronize_session": False},
    )
    if failed:
        session.execute(
            update(Wallet)
            .where(Wallet.user_id == payment.user_id, Wallet.recharge_failures >= GIVE_UP_AFTER)
            .values(recharge_below_minor=None, recharge_failures=0),
            execution_options={"synchronize_session": False},
        )
