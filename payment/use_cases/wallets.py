"""The customers' wallets: every change is a double entry, no balance falls below zero."""

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from common import clock, ids
from common.errors import NotFound
from common.money import Money
from payment import events, queries
from payment.errors import WalletFull
from payment.models import (
    LARGEST_BALANCE_MINOR,
    Account,
    Balance,
    EntryReason,
    Leg,
    Payment,
    Refund,
    Wallet,
    add_legs,
    change_balance,
)
from payment.use_cases.recharges import begin_recharge


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
) -> Leg:
    """Put money into a wallet (made if need be), once per reason and source: a second time the transaction ends with
    IntegrityError."""
    entry = _move(session, user_id, amount, source, reason, source_id)
    if entry is None:
        open_wallet(session, user_id=user_id, currency=amount.currency)
        entry = _move(session, user_id, amount, source, reason, source_id)
    assert entry is not None
    return entry


def debit(
    session: Session, *, user_id: str, amount: Money, target: Account, reason: EntryReason, source_id: str
) -> Leg | None:
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


def post_return_by_hand(session: Session, refund: Refund) -> None:
    """What was booked as given back through a card gateway is still there: the bank has sent it instead."""
    _post(session, refund.id, EntryReason.REFUND, refund.amount, Account.CARD_GATEWAY, Account.BANK)


def _post(
    session: Session, source_id: str, reason: EntryReason, amount: Money, source: Account, target: Account
) -> None:
    transfer_id, now = ids.new_id(), clock.now()
    legs = ((source, -amount.amount_minor), (target, amount.amount_minor))
    add_legs(
        session,
        *(
            Leg(
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


def transfer(
    session: Session, *, sender_id: str, recipient_id: str, amount: Money, transfer_id: str
) -> Leg | None:
    """From one wallet to another; None when the sender's balance is too low (the caller rolls back). Raises WalletFull.

    Wallets are changed in the order of their owners, so that two transfers across each other wait and do not deadlock.
    """
    open_wallet(session, user_id=recipient_id, currency=amount.currency)
    out = Money(amount_minor=-amount.amount_minor, currency=amount.currency)
    changes = sorted([(sender_id, out), (recipient_id, amount)], key=lambda change: change[0])
    entries: dict[str, Leg] = {}
    after: dict[str, Balance] = {}
    for user_id, by in changes:
        changed = change_balance(session, user_id, by)
        if changed is None:
            return None
        if user_id == recipient_id and changed.balance_minor > LARGEST_BALANCE_MINOR:
            raise WalletFull()
        after[user_id] = changed
        entries[user_id] = _leg(changed, by, EntryReason.TRANSFER, transfer_id, transfer_id)
    add_legs(session, *entries.values())
    for user_id, by in changes:
        session.add(events.wallet_changed(entries[user_id], user_id))
        _when_low(session, user_id, by, after[user_id], entries[user_id])
    return entries[sender_id]


def configure_wallet(
    session: Session,
    *,
    user_id: str,
    low_balance: Money,
    below: Money | None,
    amount: Money | None,
    method_id: str | None,
) -> Wallet:
    """When the customer is told, and when and by how much the wallet is recharged. Raises NotFound (wallet, card)."""
    wallet = session.scalar(
        select(Wallet)
        .where(Wallet.user_id == user_id, Wallet.currency == low_balance.currency)
        .with_for_update()
    )
    if wallet is None:
        raise NotFound()
    if method_id is not None:
        queries.get_method_of(session, method_id, user_id)
    wallet.low_balance_minor = low_balance.amount_minor
    wallet.recharge_below_minor = below.amount_minor if below else None
    wallet.recharge_amount_minor = amount.amount_minor if amount else None
    wallet.recharge_method_id, wallet.recharge_failures = method_id, 0
    session.flush()
    if below is not None and wallet.balance_minor < below.amount_minor:
        begin_recharge(session, wallet.id)
    return wallet


def close_wallets(session: Session, *, user_id: str) -> None:
    """The customer has gone: nothing is topped up any more; what is there stays theirs. Safe to repeat."""
    session.execute(
        update(Wallet)
        .where(Wallet.user_id == user_id, Wallet.closed_at.is_(None))
        .values(closed_at=clock.now(), recharge_below_minor=None),
        execution_options={"synchronize_session": False},
    )


def is_closed(session: Session, user_id: str, currency: str) -> bool:
    closed = select(Wallet.closed_at).where(Wallet.user_id == user_id, Wallet.currency == currency)
    return session.scalar(closed) is not None


def _move(
    session: Session, user_id: str, by: Money, other: Account, reason: EntryReason, source_id: str
) -> Leg | None:
    changed = change_balance(session, user_id, by)
    if changed is None:
        return None
    entry = _leg(changed, by, reason, source_id, ids.new_id())
    counter = Leg(
        id=ids.new_id(),
        transfer_id=entry.transfer_id,
        account=other,
        wallet_id=None,
        amount_minor=-by.amount_minor,
        currency=by.currency,
        balance_minor=None,
        reason=reason,
        source_id=source_id,
        created_at=entry.created_at,
    )
    add_legs(session, entry, counter)
    session.add(events.wallet_changed(entry, user_id))
    _when_low(session, user_id, by, changed, entry)
    return entry


def _leg(changed: Balance, by: Money, reason: EntryReason, source_id: str, transfer_id: str) -> Leg:
    return Leg(
        id=ids.new_id(),
        transfer_id=transfer_id,
        account=Account.WALLET,
        wallet_id=changed.wallet_id,
        amount_minor=by.amount_minor,
        currency=by.currency,
        balance_minor=changed.balance_minor,
        reason=reason,
        source_id=source_id,
        created_at=clock.now(),
    )


def _when_low(session: Session, user_id: str, by: Money, changed: Balance, entry: Leg) -> None:
    if changed.balance_minor < changed.low_balance_minor <= changed.balance_minor - by.amount_minor:
        session.add(events.wallet_low_balance(entry, user_id))
    below = changed.recharge_below_minor
    if below is not None and by.amount_minor < 0 and changed.balance_minor < below:
        begin_recharge(session, changed.wallet_id)
