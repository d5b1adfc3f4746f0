"""Reads of payment."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute, Session

from common import clock
from common.db import Page, PageQuery, fetch_page
from common.db.tables import Heartbeat
from common.errors import NotFound
from payment.models import Payable, Payment, ReferenceType, Refund, Wallet, WalletEntry

DUE_BATCH = 100
_WORKER_SILENT_AFTER = timedelta(seconds=10)


def find_payable(session: Session, reference_type: ReferenceType, reference_id: str) -> Payable | None:
    found = session.get(Payable, reference_id)
    return found if found is not None and found.type is reference_type else None


def get_payment_of(session: Session, payment_id: str, user_id: str) -> Payment:
    """Raises NotFound for another's."""
    payment = session.get(Payment, payment_id)
    if payment is None or payment.user_id != user_id:
        raise NotFound()
    return payment


def list_payments(session: Session, user_id: str, query: PageQuery) -> Page[Payment]:
    return fetch_page(session, select(Payment).where(Payment.user_id == user_id), Payment.id, query)


def find_wallet(session: Session, user_id: str, currency: str) -> Wallet | None:
    return session.scalar(select(Wallet).where(Wallet.user_id == user_id, Wallet.currency == currency))


def list_wallet_entries(session: Session, user_id: str, currency: str, query: PageQuery) -> Page[WalletEntry]:
    wallet = find_wallet(session, user_id, currency)
    if wallet is None:
        return Page([], None)
    entries = select(WalletEntry).where(WalletEntry.wallet_id == wallet.id)
    return fetch_page(session, entries, WalletEntry.id, query)


def list_due_payments(session: Session) -> Sequence[str]:
    """Payments that the janitor is to look at now, longest waiting first."""
    return _due(session, Payment.id, Payment.check_at)


def list_due_refunds(session: Session) -> Sequence[str]:
    return _due(session, Refund.id, Refund.check_at)


def _due(
    session: Session, key: InstrumentedAttribute[str], check_at: InstrumentedAttribute[object]
) -> Sequence[str]:
    return session.scalars(
        select(key).where(check_at <= clock.now()).order_by(check_at).limit(DUE_BATCH)
    ).all()


def events_cannot_arrive(session: Session) -> bool:
    """Whether workers are alive and none of them has the broker, so that waiting for an event is in vain."""
    alive = session.scalars(
        select(Heartbeat.broker_connected).where(Heartbeat.beaten_at > clock.now() - _WORKER_SILENT_AFTER)
    ).all()
    return bool(alive) and not any(alive)
