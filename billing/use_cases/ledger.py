"""The one place where the books are written. Rows are only added, and what is added sums to zero."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from billing.models import Account, Invoice, LedgerAccount, LedgerEntry, LedgerKind, LedgerTransaction
from common import ids


class Unbalanced(Exception):
    """Debits and credits differ: our own fault, nothing may be committed."""


@dataclass(frozen=True, slots=True)
class Posting:
    """A business fact about a locked account: minor units of its currency, debits above zero."""

    account: Account
    invoice: Invoice
    kind: LedgerKind
    entries: Mapping[LedgerAccount, int]
    reference_id: str
    payment_id: str | None = None


def post(
    session: Session,
    account: Account,
    invoice: Invoice,
    kind: LedgerKind,
    entries: Mapping[LedgerAccount, int],
    *,
    reference_id: str,
    payment_id: str | None = None,
) -> None:
    """Book one fact. Raises Unbalanced. The same `kind` and `reference_id` a second time violates a unique key."""
    post_all(session, [Posting(account, invoice, kind, entries, reference_id, payment_id)])


def post_all(session: Session, postings: Sequence[Posting]) -> None:
    """Book several facts, in order. Raises Unbalanced."""
    booked = [_book(posting) for posting in postings]
    session.add_all(booked)
    session.flush()
    session.add_all(
        LedgerEntry(
            transaction_id=transaction.id,
            ledger_account=ledger_account,
            currency=posting.account.currency,
            amount_minor=amount,
        )
        for posting, transaction in zip(postings, booked, strict=True)
        for ledger_account, amount in posting.entries.items()
        if amount != 0
    )


def _book(posting: Posting) -> LedgerTransaction:
    account = posting.account
    if sum(posting.entries.values()) != 0 or account.currency != posting.invoice.currency:
        raise Unbalanced(f"{posting.kind} of {posting.reference_id}")
    receivable = posting.entries.get(LedgerAccount.RECEIVABLE, 0)
    credit = -posting.entries.get(LedgerAccount.CUSTOMER_CREDIT, 0)
    account.receivable_minor += receivable
    account.credit_minor += credit
    return LedgerTransaction(
        id=ids.new_id(),
        account_id=account.id,
        kind=posting.kind,
        reference_id=posting.reference_id,
        invoice_id=posting.invoice.id,
        payment_id=posting.payment_id,
        currency=account.currency,
        amount_minor=receivable - credit,
        balance_minor=account.receivable_minor - account.credit_minor,
    )
