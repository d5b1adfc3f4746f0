"""Reads of payment."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from common import clock
from common.db import Page, PageQuery, Statement, fetch_page
from common.db.tables import Heartbeat
from common.errors import NotFound
from common.money import Money
from payment.filters import CasesQuery, PaymentsQuery
from payment.models import (
    PENDING,
    CardLeft,
    Case,
    Difference,
    MethodState,
    Payable,
    PayableState,
    Payment,
    Reconciliation,
    ReconciliationState,
    ReferenceType,
    Refund,
    SavedMethod,
    Wallet,
    WalletEntry,
)

DUE_BATCH = 100
UPLOAD_LIFE = timedelta(days=1)
_WORKER_SILENT_AFTER = timedelta(seconds=10)


class Due(NamedTuple):
    """What is owed for an order or invoice."""

    owner_id: str
    state: PayableState
    amount_minor: int
    currency: str

    @property
    def amount(self) -> Money:
        return Money(amount_minor=self.amount_minor, currency=self.currency)


_DUE = Statement(
    select(Payable.owner_id, Payable.state, Payable.amount_minor, Payable.currency).where(
        Payable.id == bindparam("key"), Payable.type == bindparam("kind")
    )
)


def find_due(session: Session, kind: ReferenceType, reference_id: str) -> Due | None:
    """What is owed, or None for what is not known (yet)."""
    row = _DUE.first(session.connection(), {"key": reference_id, "kind": kind})
    return None if row is None else Due(*row)


def get_payment_of(session: Session, payment_id: str, user_id: str | None) -> Payment:
    """A customer's payment, or (without user) anybody's. Raises NotFound."""
    payment = session.get(Payment, payment_id)
    if payment is None or user_id not in (None, payment.user_id):
        raise NotFound()
    return payment


def list_refunds(session: Session, payment_id: str) -> Sequence[Refund]:
    """All refunds of a payment, oldest first."""
    return session.scalars(select(Refund).where(Refund.payment_id == payment_id).order_by(Refund.id)).all()


def list_all_payments(session: Session, query: PaymentsQuery) -> Page[Payment]:
    wanted = select(Payment)
    if query.user_id is not None:
        wanted = wanted.where(Payment.user_id == query.user_id)
    if query.reference_id is not None:
        wanted = wanted.where(Payment.reference_id == query.reference_id)
    return fetch_page(session, wanted, Payment.id, query)


def list_cases(session: Session, query: CasesQuery) -> Page[Case]:
    return fetch_page(session, select(Case).where(Case.state == query.state), Case.id, query)


def find_method(session: Session, method_id: str) -> SavedMethod | None:
    return session.get(SavedMethod, method_id)


def get_method_of(session: Session, method_id: str, user_id: str) -> SavedMethod:
    """A card that its owner can pay with. Raises NotFound."""
    method = session.get(SavedMethod, method_id)
    if method is None or method.user_id != user_id or method.state is not MethodState.ACTIVE:
        raise NotFound("There is no such saved method")
    return method


def list_methods(session: Session, user_id: str, query: PageQuery) -> Page[SavedMethod]:
    mine = select(SavedMethod).where(SavedMethod.user_id == user_id, SavedMethod.state == MethodState.ACTIVE)
    return fetch_page(session, mine, SavedMethod.id, query)


def list_methods_to_forget(session: Session, gateways: Sequence[str]) -> Sequence[SavedMethod]:
    """Removed cards at these gateways."""
    wanted = select(SavedMethod).where(
        SavedMethod.state == MethodState.REMOVING, SavedMethod.gateway.in_(gateways)
    )
    return session.scalars(wanted.order_by(SavedMethod.id).limit(DUE_BATCH)).all()


def list_payments_to_drop_cards(session: Session, gateways: Sequence[str]) -> Sequence[Payment]:
    """Settled payments whose card was left at one of these gateways for them alone."""
    wanted = select(Payment).where(
        Payment.gateway_token.is_not(None),
        Payment.saved_method_id.is_(None),
        Payment.state.not_in(PENDING),
        Payment.gateway.in_(gateways),
    )
    return session.scalars(wanted.order_by(Payment.id).limit(DUE_BATCH)).all()


def list_cards_left_behind(
    session: Session, gateways: Sequence[str], *, before: datetime
) -> Sequence[CardLeft]:
    """Cards left at one of these gateways before an instant, and nothing stands for them."""
    wanted = select(CardLeft).where(CardLeft.left_at < before, CardLeft.gateway.in_(gateways))
    return session.scalars(wanted.order_by(CardLeft.key).limit(DUE_BATCH)).all()


def list_payments(session: Session, user_id: str, query: PageQuery) -> Page[Payment]:
    return fetch_page(session, select(Payment).where(Payment.user_id == user_id), Payment.id, query)


def find_wallet(session: Session, user_id: str, currency: str) -> Wallet | None:
    return session.scalar(select(Wallet).where(Wallet.user_id == user_id, Wallet.currency == currency))


def get_reconciliation(session: Session, run_id: str) -> tuple[Reconciliation, dict[str, int]]:
    """A run and its differences by kind. Raises NotFound."""
    run = session.get(Reconciliation, run_id)
    if run is None:
        raise NotFound()
    counted = select(Difference.kind, func.count()).where(Difference.reconciliation_id == run_id)
    rows = session.execute(counted.group_by(Difference.kind)).all()
    return run, {kind.value: count for kind, count in rows}


def list_running_reconciliations(session: Session) -> Sequence[str]:
    running = (ReconciliationState.THEIRS, ReconciliationState.OURS)
    wanted = select(Reconciliation.id).where(Reconciliation.state.in_(running))
    return session.scalars(wanted.order_by(Reconciliation.id)).all()


def list_uploads_broken_off(session: Session) -> Sequence[str]:
    """Runs whose file has not come to its end for a day."""
    state = Reconciliation.state == ReconciliationState.UPLOADING
    return session.scalars(
        select(Reconciliation.id).where(state, Reconciliation.created_at < clock.now() - UPLOAD_LIFE)
    ).all()


def find_run_with_lines_left(session: Session) -> str | None:
    """A run that is over, yet still has its lines."""
    over = Reconciliation.state.in_((ReconciliationState.COMPLETED, ReconciliationState.REFUSED))
    has_lines = Reconciliation.cleared < Reconciliation.lines
    return session.scalar(select(Reconciliation.id).where(over, has_lines).limit(1))


def list_differences(session: Session, run_id: str, query: PageQuery) -> Page[Difference]:
    wanted = select(Difference).where(Difference.reconciliation_id == run_id)
    return fetch_page(session, wanted, Difference.id, query)


def list_wallets(session: Session, user_id: str) -> Sequence[Wallet]:
    return session.scalars(select(Wallet).where(Wallet.user_id == user_id).order_by(Wallet.currency)).all()


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
