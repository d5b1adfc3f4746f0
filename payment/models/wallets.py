"""Wallets and the ledger."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, UniqueConstraint, bindparam
from sqlalchemy import update as sql_update
from sqlalchemy.orm import Mapped, Session, mapped_column

from common import clock, ids
from common.db import Id, Statement, enum_column
from common.db.closing import at_the_end
from common.money import MAX_MINOR, Money
from payment.models.base import Base


class Account(StrEnum):
    """Where wallet money comes from and goes to: a customer's wallet, or one of the operator's accounts."""

    WALLET = "wallet"
    CARD_GATEWAY = "card_gateway"
    SALES = "sales"
    VOUCHERS = "vouchers"
    BANK = "bank"


class EntryReason(StrEnum):
    TOP_UP = "top_up"
    PAYMENT = "payment"
    REFUND = "refund"
    TRANSFER = "transfer"
    VOUCHER = "voucher"


LARGEST_BALANCE_MINOR = MAX_MINOR // 1000
"""No wallet is filled beyond this: ten thousand million rupees. What is on its way by then may still go over it."""
LOW_BALANCE_MINOR = 10_000
"""Below this the customer is told, unless they set another bound."""


class Wallet(Base):
    """A customer's prepaid balance in one currency: always the sum of its entries, never below zero.

    The customer is told when it falls below `low_balance_minor` (0: never). Below `recharge_below_minor` (null: never)
    it is topped up from a saved card, by one payment at a time: `recharging_by`. A closed one takes no more money in.
    """

    __tablename__ = "wallets"
    __table_args__ = (
        UniqueConstraint("user_id", "currency"),
        CheckConstraint("balance_minor >= 0", name="balance_not_negative"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    user_id: Mapped[str] = mapped_column(Id)
    currency: Mapped[str] = mapped_column(String(3))
    balance_minor: Mapped[int] = mapped_column(BigInteger, default=0)
    low_balance_minor: Mapped[int] = mapped_column(
        BigInteger, default=LOW_BALANCE_MINOR, server_default="10000"
    )
    recharge_below_minor: Mapped[int | None] = mapped_column(BigInteger)
    recharge_amount_minor: Mapped[int | None] = mapped_column(BigInteger)
    recharge_method_id: Mapped[str | None] = mapped_column(Id)
    recharging_by: Mapped[str | None] = mapped_column(Id)
    recharge_failures: Mapped[int] = mapped_column(default=0, server_default="0")
    closed_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


class WalletEntry(Base):
    """One leg of a double entry: all legs of a `transfer_id` add up to zero. Rows are only ever added:
    triggers hold that.

    The operator's accounts have no balance row (every payment would wait for it): theirs is the sum of their legs.
    """

    __tablename__ = "wallet_entries"
    __table_args__ = (
        Index("ix_wallet_entries_wallet_id_id", "wallet_id", "id"),
        UniqueConstraint("source_id", "reason", "wallet_id"),
        CheckConstraint("(account = 'wallet') = (wallet_id IS NOT NULL)", name="wallet_named"),
        CheckConstraint("amount_minor <> 0", name="amount_not_zero"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    transfer_id: Mapped[str] = mapped_column(Id)
    account: Mapped[Account] = mapped_column(enum_column(Account))
    wallet_id: Mapped[str | None] = mapped_column(ForeignKey("wallets.id"))
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    balance_minor: Mapped[int | None] = mapped_column(BigInteger)
    reason: Mapped[EntryReason] = mapped_column(enum_column(EntryReason))
    source_id: Mapped[str] = mapped_column(Id)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


class Leg(NamedTuple):
    """A leg that is being added, as its columns: making a `WalletEntry` of it takes ten times as long, and the next
    payment waits."""

    id: str
    transfer_id: str
    account: Account
    wallet_id: str | None
    amount_minor: int
    currency: str
    balance_minor: int | None
    reason: EntryReason
    source_id: str
    created_at: datetime


class Balance(NamedTuple):
    """A wallet after a change."""

    wallet_id: str
    balance_minor: int
    low_balance_minor: int
    recharge_below_minor: int | None


def add_legs(session: Session, *legs: Leg) -> None:
    """Written when the transaction ends, which fails when the reason and source have changed the wallet before."""
    at_the_end(session, WalletEntry.__table__, [leg._asdict() for leg in legs])


def change_balance(session: Session, user_id: str, by: Money) -> Balance | None:
    """Add to a balance; the wallet as it then is, or None when it would fall below zero or is not there."""
    values = {"owner": user_id, "money": by.currency, "by": by.amount_minor}
    row = _CHANGE_BALANCE.first(session.connection(), values)
    return None if row is None else Balance(*row)


_CHANGE_BALANCE = Statement(
    sql_update(Wallet.__table__)  # type: ignore[arg-type]
    .where(
        Wallet.user_id == bindparam("owner"),
        Wallet.currency == bindparam("money"),
        Wallet.balance_minor + bindparam("by") >= 0,
    )
    .values(balance_minor=Wallet.balance_minor + bindparam("by"))
    .returning(Wallet.id, Wallet.balance_minor, Wallet.low_balance_minor, Wallet.recharge_below_minor)
)
