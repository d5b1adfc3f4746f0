"""Printed vouchers: imported as batches, redeemed once, not to be guessed."""

import hashlib
import hmac
from collections.abc import Sequence
from datetime import date, timedelta

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from common import clock, ids
from common.money import Money
from payment.errors import WalletFull
from payment.models import (
    LARGEST_BALANCE_MINOR,
    Account,
    EntryReason,
    Leg,
    Voucher,
    VoucherGuesses,
    VoucherState,
    insert_rows,
)
from payment.use_cases import wallets

GUESSES = 5
LOCKED_FOR = timedelta(hours=1)
_CHUNK = 500


def import_vouchers(
    session: Session, *, secret: str, batch: str, codes: Sequence[str], amount: Money, expires_on: date | None
) -> int:
    """How many were new: codes that are known stay as they are, so that a batch may be sent again."""
    hashes = list(dict.fromkeys(hash_code(secret, code) for code in codes))
    new = 0
    for start in range(0, len(hashes), _CHUNK):
        chunk = hashes[start : start + _CHUNK]
        known = set(session.scalars(select(Voucher.code_hash).where(Voucher.code_hash.in_(chunk))))
        rows = [
            Voucher(
                id=ids.new_id(),
                code_hash=code_hash,
                batch=batch,
                amount_minor=amount.amount_minor,
                currency=amount.currency,
                expires_on=expires_on,
                state=VoucherState.ACTIVE,
                created_at=clock.now(),
            )
            for code_hash in chunk
            if code_hash not in known
        ]
        if rows:
            insert_rows(session, *rows)
        new += len(rows)
    return new


def locked_for(session: Session, user_id: str) -> float | None:
    """Seconds for which a customer who guessed too often has to wait."""
    guesses = session.get(VoucherGuesses, user_id, with_for_update=True)
    if guesses is None or guesses.locked_until is None:
        return None
    left = (guesses.locked_until - clock.now()).total_seconds()
    return left if left > 0 else None


def redeem_voucher(session: Session, *, secret: str, user_id: str, code: str) -> Leg | None:
    """Credit a voucher, once ever; None, and a wrong guess counted, when there is no such voucher (any more).

    Raises WalletFull.
    """
    voucher = session.execute(
        update(Voucher)
        .where(
            Voucher.code_hash == hash_code(secret, code),
            Voucher.state == VoucherState.ACTIVE,
            Voucher.expires_on.is_(None) | (Voucher.expires_on >= clock.today()),
        )
        .values(state=VoucherState.REDEEMED, redeemed_by=user_id, redeemed_at=clock.now())
        .returning(Voucher.id, Voucher.amount_minor, Voucher.currency),
        execution_options={"synchronize_session": False},
    ).one_or_none()
    guesses = session.get(VoucherGuesses, user_id, with_for_update=True)
    if voucher is None:
        _count_guess(session, guesses, user_id)
        return None
    if guesses is not None:
        session.delete(guesses)
    entry = wallets.credit(
        session,
        user_id=user_id,
        amount=Money(amount_minor=voucher.amount_minor, currency=voucher.currency),
        source=Account.VOUCHERS,
        reason=EntryReason.VOUCHER,
        source_id=voucher.id,
    )
    if (entry.balance_minor or 0) > LARGEST_BALANCE_MINOR:
        raise WalletFull()
    return entry


def hash_code(secret: str, code: str) -> str:
    """Keyed, since sixteen digits alone are soon tried out."""
    return hmac.new(secret.encode(), code.encode(), hashlib.sha256).hexdigest()


def _count_guess(session: Session, guesses: VoucherGuesses | None, user_id: str) -> None:
    if guesses is None:
        guesses = VoucherGuesses(user_id=user_id, failures=0)
        try:
            with session.begin_nested():
                session.add(guesses)
        except IntegrityError:  # another wrong guess at the same moment
            guesses = session.get_one(VoucherGuesses, user_id, with_for_update=True)
    guesses.failures += 1
    if guesses.failures >= GUESSES:
        guesses.failures, guesses.locked_until = 0, clock.now() + LOCKED_FOR
