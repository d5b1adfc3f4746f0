"""Accounts, their statements, and the books."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Self

from pydantic import BaseModel, Field

from billing.models import Account, AccountKind, AccountStatus
from billing.schemas.shared import SumOut, UserId
from common.db import PageQuery
from common.money import Money
from common.schemas import Body


class LedgerQuery(PageQuery):
    user_id: UserId | None = None


class AccountOut(BaseModel):
    id: str
    number: str = Field(examples=["STL-0000000042"])
    user_id: str
    kind: AccountKind
    status: AccountStatus
    barred_on: date | None
    balance_due: SumOut
    credit: SumOut = Field(description="paid too much: taken off the next invoice when it is issued")
    created_at: datetime

    @classmethod
    def of(cls, account: Account) -> Self:
        return cls(
            id=account.id,
            number=account.number,
            user_id=account.user_id,
            kind=account.kind,
            status=account.status,
            barred_on=account.barred_on,
            balance_due=SumOut(amount_minor=account.receivable_minor, currency=account.currency),
            credit=SumOut(amount_minor=account.credit_minor, currency=account.currency),
            created_at=account.created_at,
        )


class StatementLineOut(BaseModel):
    """A movement on the customer's account."""

    id: str
    kind: str = Field(
        description="invoice_issued, payment_received, payment_refunded, invoice_credited or invoice_voided"
    )
    invoice_id: str
    invoice_number: str
    payment_id: str | None
    amount: Money = Field(description="above zero: owed; below zero: paid or credited")
    balance: SumOut = Field(description="owed after it; below zero: in credit")
    created_at: datetime


class LedgerBalanceOut(BaseModel):
    ledger_account: str
    debit: SumOut
    credit: SumOut
    balance: SumOut = Field(description="debit less credit")


class TrialBalanceOut(BaseModel):
    balanced: bool
    totals: list[SumOut] = Field(description="the sum over all ledger accounts, per currency: always zero")
    accounts: list[LedgerBalanceOut]

    @classmethod
    def of(cls, sums: Sequence[tuple[str, str, int, int]], currency: str) -> Self:
        """From (ledger account, currency, debits, credits); `currency` is there even when the books are empty."""
        totals: dict[str, int] = {currency: 0}
        for _, of_currency, debit, credit in sums:
            totals[of_currency] = totals.get(of_currency, 0) + debit - credit
        return cls(
            balanced=not any(totals.values()),
            totals=[SumOut(amount_minor=total, currency=code) for code, total in totals.items()],
            accounts=[
                LedgerBalanceOut(
                    ledger_account=name,
                    debit=SumOut(amount_minor=debit, currency=code),
                    credit=SumOut(amount_minor=credit, currency=code),
                    balance=SumOut(amount_minor=debit - credit, currency=code),
                )
                for name, code, debit, credit in sums
            ],
        )


class AccountIn(Body):
    kind: AccountKind
