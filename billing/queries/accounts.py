"""Accounts, their statements, and the books."""

from typing import Any

from sqlalchemy import String, func, select, type_coerce
from sqlalchemy.orm import Session

from billing.models import Account, Invoice, LedgerEntry, LedgerTransaction
from common.db import Page, PageQuery, fetch_page
from common.errors import NotFound


def get_account(session: Session, user_id: str) -> Account:
    """Raises NotFound."""
    account = session.scalar(select(Account).where(Account.user_id == user_id))
    if account is None:
        raise NotFound("There is no billing account, or not yet")
    return account


def list_statement(session: Session, account: Account, query: PageQuery) -> Page[dict[str, Any]]:
    """What moved the customer's balance (`schemas.StatementLineOut`), newest first.

    Credit that paid an invoice moves nothing and is not shown.
    """
    moves = (
        select(
            LedgerTransaction.id,
            type_coerce(LedgerTransaction.kind, String).label("kind"),
            LedgerTransaction.invoice_id,
            Invoice.number.label("invoice_number"),
            LedgerTransaction.payment_id,
            LedgerTransaction.amount_minor,
            LedgerTransaction.balance_minor,
            LedgerTransaction.currency,
            LedgerTransaction.created_at,
        )
        .join(Invoice, Invoice.id == LedgerTransaction.invoice_id)
        .where(LedgerTransaction.account_id == account.id, LedgerTransaction.amount_minor != 0)
    )
    page = fetch_page(session, moves, LedgerTransaction.id, query, scalars=False)
    items = [
        {
            "id": row.id,
            "kind": row.kind,
            "invoice_id": row.invoice_id,
            "invoice_number": row.invoice_number,
            "payment_id": row.payment_id,
            "amount": {"amount_minor": row.amount_minor, "currency": row.currency},
            "balance": {"amount_minor": row.balance_minor, "currency": row.currency},
            "created_at": row.created_at,
        }
        for row in page.items
    ]
    return Page(items, page.next_cursor)


def trial_balance(session: Session) -> list[tuple[str, str, int, int]]:
    """(ledger account, currency, debits, credits) of all, in minor units, from the entries themselves."""
    amount = LedgerEntry.amount_minor
    sums = (
        select(
            LedgerEntry.ledger_account,
            LedgerEntry.currency,
            func.sum(amount).filter(amount > 0),
            func.sum(-amount).filter(amount < 0),
        )
        .group_by(LedgerEntry.ledger_account, LedgerEntry.currency)
        .order_by(LedgerEntry.currency, LedgerEntry.ledger_account)
    )
    return [
        (ledger_account.value, currency, int(debit or 0), int(credit or 0))
        for ledger_account, currency, debit, credit in session.execute(sums)
    ]
