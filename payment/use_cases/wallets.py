"""The customers' wallets: every change is a double entry, no balance falls below zero."""

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from common import clock, ids
from common.money import Money
from payment import events
from payment.models import (
    Account,
    EntryReason,
    Payment,
    Refund,
    Wallet,
    WalletEntry,
    change_balance,
    insert_rows,
)


def open_wallet(session: Session, *, user_id: str, currency: str) -> None:
    """A customer's wallet. No-op when there is one; safe to race."""
    wanted = select(Wallet.id).where(Wallet.user_id == user_id, Wallet.currency == currency)
    if session.scalar(wanted) is not None:
        return
    try:
        with session.begin_nested():
            session.add(Wallet(user_id=user_id, currency=currency, balance_minor=0))
    except IntegrityError:
        if session.scalar(wanted) is None:
            raise


def credit(
    session: Session, *, user_id: str, amount: Money, source: Account, reason: EntryReason, source_id: str
) -> WalletEntry:
    """Put money into a wallet (made if need be), once per reason and source: a second time raises IntegrityError."""
    entry = _move(session, user_id, amount, source, reason, source_id)
    if entry is None:
        open_wallet(session, user_id=user_id, currency=amount.currency)
        entry = _move(session, user_id, amount, source, reason, source_id)
    assert entry is not None
    return entry


def debit(
    session: Session, *, user_id: str, amount: Money, target: Account, reason: EntryReason, source_id: str
) -> WalletEntry | None:
    """Take money out of a wallet, or None (and nothing is changed) when the balance is too low."""
    out = Money(amount_minor=-amount.amount_minor, currency=amount.currency)
    return _move(session, user_id, out, target, reason, source_id)


def take_back(session: Session, user_id: str, amount: Money, refund_id: str) -> bool:
    """Take a top-up that is refunded out of the wallet; False, and nothing is changed, when it is spent."""
    entry = debit(
        session,
        user_id=user_id,
        amount=amount,
        target=Account.CARD_GATEWAY,
        reason=EntryReason.REFUND,
        source_id=refund_id,
    )
    return entry is not None


def post_capture(session: Session, payment: Payment) -> None:
    """Money came through a card gateway for something sold."""
    _post(session, payment.id, EntryReason.PAYMENT, payment.amount, Account.CARD_GATEWAY, Account.SALES)


def post_return(session: Session, refund: Refund) -> None:
    """Money went back through a card gateway."""
    _post(session, refund.id, EntryReason.REFUND, refund.amount, Account.SALES, Account.CARD_GATEWAY)


def _post(
    session: Session, source_id: str, reason: EntryReason, amount: Money, source: Account, target: Account
) -> None:
    transfer_id, now = ids.new_id(), clock.now()
    legs = ((source, -amount.amount_minor), (target, amount.amount_minor))
    insert_rows(
        session,
        *(
            WalletEntry(
                id=ids.new_id(),
                transfer_id=transfer_id,
                account=account,
                wallet_id=None,
                amount_minor=minor,
                currency=amount.currency,
                balance_minor=None,
                reason=reason,
                source_id=source_id,
                created_at=now,
            )
            for account, minor in legs
        ),
    )


def _move(
    session: Session, user_id: str, by: Money, other: Account, reason: EntryReason, source_id: str
) -> WalletEntry | None:
    changed = change_balance(session, user_id, by)
    if changed is None:
        return None
    transfer_id, now = ids.new_id(), clock.now()
    entry = WalletEntry(
        id=ids.new_id(),
        transfer_id=transfer_id,
        account=Account.WALLET,
        wallet_id=changed.wallet_id,
        amount_minor=by.amount_minor,
        currency=by.currency,
        balance_minor=changed.balance_minor,
        reason=reason,
        source_id=source_id,
        created_at=now,
    )
    counter = WalletEntry(
        id=ids.new_id(),
        transfer_id=transfer_id,
        account=other,
        wallet_id=None,
        amount_minor=-by.amount_minor,
        currency=by.currency,
        balance_minor=None,
        reason=reason,
        source_id=source_id,
        created_at=now,
    )
    insert_rows(session, entry, counter)
    session.add(events.wallet_changed(entry, user_id))
    if changed.balance_minor < changed.low_balance_minor <= changed.balance_minor - by.amount_minor:
        session.add(events.wallet_low_balance(entry, user_id))
    return entry
