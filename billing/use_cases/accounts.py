"""Accounts: opened for every user, kept up with the profile, numbered without gaps."""

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from billing.errors import AccountInUse
from billing.models import Account, AccountKind, AccountStatus, Counter, Subscription
from common.errors import NotFound
from common.messaging import NotYet


def next_number(session: Session, series: str, count: int = 1) -> int:
    """The next number of a gapless series, counted from 1; of several the first.

    Others wait for this transaction's end before they get theirs: call it last.
    """
    counter = session.get(Counter, series, with_for_update=True)
    if counter is None:
        try:
            with session.begin_nested():
                session.add(Counter(name=series, value=0))
        except IntegrityError:  # another transaction began the series meanwhile
            pass
        counter = session.get_one(Counter, series, with_for_update=True)
    counter.value += count
    return counter.value - count + 1


def open_account(
    session: Session,
    *,
    user_id: str,
    profile: dict[str, Any],
    as_of: datetime,
    currency: str,
    kind: AccountKind,
) -> Account:
    """The user's billing account; made at the first call. Staff have one too: any user may become a customer."""
    found = session.scalar(select(Account).where(Account.user_id == user_id))
    if found is not None:
        return found
    account = Account(
        number=f"STL-{next_number(session, 'account'):010d}",
        user_id=user_id,
        kind=kind,
        status=AccountStatus.ACTIVE,
        currency=currency,
        name=profile["name"],
        phone=profile["phone"],
        email=profile["email"],
        language=profile["language"],
        profile_as_of=as_of,
    )
    session.add(account)
    return account


def set_kind(session: Session, *, user_id: str, kind: AccountKind) -> Account:
    """Make an account prepaid or postpaid. Raises NotFound, and AccountInUse for one that is still billed."""
    account = lock_account_of(session, user_id)
    if account.kind is not kind:
        billed = select(Subscription.id).where(
            Subscription.account_id == account.id, Subscription.settled.is_(False)
        )
        if account.receivable_minor or session.scalar(billed.limit(1)) is not None:
            raise AccountInUse()
        account.kind = kind
    return account


def update_profile(session: Session, *, user_id: str, profile: dict[str, Any], as_of: datetime) -> None:
    """Take over a profile, unless a newer one is known; who was gone may be back.

    Raises NotYet before the account is there.
    """
    account = _account_to_be(session, user_id)
    if as_of <= account.profile_as_of:
        return
    account.name, account.phone, account.email = profile["name"], profile["phone"], profile["email"]
    account.language, account.profile_as_of = profile["language"], as_of
    if "active" in profile["changed"]:
        account.deactivated_at = None


def deactivate_account(session: Session, *, user_id: str, at: datetime) -> Account:
    """Note that the user is gone. Raises NotYet before the account is there."""
    account = _account_to_be(session, user_id)
    account.deactivated_at = account.deactivated_at or at
    return account


def lock_account_of(session: Session, user_id: str) -> Account:
    """The user's account as it is now, held until the commit. Raises NotFound."""
    found = select(Account).where(Account.user_id == user_id).with_for_update()
    account = session.scalar(found.execution_options(populate_existing=True))
    if account is None:
        raise NotFound("This user has no billing account, or not yet")
    return account


def lock_account(session: Session, account_id: str) -> Account:
    """An account that is known to exist, as it is now, held until the commit."""
    return session.get_one(Account, account_id, with_for_update=True, populate_existing=True)


def _account_to_be(session: Session, user_id: str) -> Account:
    try:
        return lock_account_of(session, user_id)
    except NotFound:
        raise NotYet(f"no account of user {user_id}") from None
