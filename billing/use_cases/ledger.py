"""The one place where the books are written. Rows are only added, and what is added sums to zero."""

from collections.abc import Mapping

from sqlalchemy.orm import Session

from billing.models import Account, Invoice, LedgerAccount, LedgerEntry, LedgerKind, LedgerTransaction


class Unbalanced(Exception):
    """Debits and credits differ: our own fault, nothing may be committed."""


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
    """Book a business fact about a locked account: minor units of its currency, debits above zero.

    Raises Unbalanced. The same `kind` and `reference_id` a second time violates a unique key.
    """
    if sum(entries.values()) != 0 or account.currency != invoice.currency:
        raise Unbalanced(f"{kind} of {reference_id}")
    receivable = entries.get(LedgerAccount.RECEIVABLE, 0)
    credit = -entries.get(LedgerAccount.CUSTOMER_CREDIT, 0)
    account.receivable_minor += receivable
    account.credit_minor += credit
    booked = LedgerTransaction(
        account_id=account.id,
        kind=kind,
        reference_id=reference_id,
        invoice_id=invoice.id,
        payment_id=payment_id,
        currency=account.currency,
        amount_minor=receivable - credit,
        balance_minor=account.receivable_minor - account.credit_minor,
    )
    session.add(booked)
    session.flush()
    session.add_all(
        LedgerEntry(
            transaction_id=booked.id,
            ledger_account=ledger_account,
            currency=account.currency,
            amount_minor=amount,
        )
        for ledger_account, amount in entries.items()
        if amount != 0
    )
