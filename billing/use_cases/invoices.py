"""Invoices: issued, voided; how credit and barring follow from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import orjson
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from billing import events
from billing.config import Tax
from billing.errors import InvoiceNotVoidable
from billing.models import (
    OPEN_STATES,
    Account,
    AccountStatus,
    CreditNote,
    Invoice,
    InvoicePayment,
    InvoiceState,
    LedgerAccount,
    LedgerKind,
)
from billing.use_cases.accounts import lock_account, lock_account_of, next_number
from billing.use_cases.billed import give_back
from billing.use_cases.ledger import Posting, post, post_all
from billing.use_cases.taxes import tax_lines
from common import clock
from common.errors import NotFound, ValidationFailed
from common.money import MAX_MINOR, Money


@dataclass(frozen=True, slots=True)
class Line:
    """What is billed, net of taxes."""

    description: str
    quantity: int
    unit_price: Money

    @property
    def amount_minor(self) -> int:
        return self.quantity * self.unit_price.amount_minor


def issue_invoice(
    session: Session,
    *,
    invoice_id: str,
    user_id: str,
    lines: Sequence[Line],
    due_on: date,
    period: str | None,
    taxes: Sequence[Tax],
    created_by: str | None,
) -> Invoice:
    """Bill a user, taking the account's credit off at once. Raises NotFound, ValidationFailed."""
    account = lock_account_of(session, user_id)
    _demand_currency(lines, account.currency)
    invoice = draft_invoice(
        account,
        invoice_id=invoice_id,
        lines=lines,
        due_on=due_on,
        period=period,
        taxes=taxes,
        created_by=created_by,
    )
    if account.receivable_minor + invoice.total_minor > MAX_MINOR:
        message = f"the account would owe more than {MAX_MINOR} minor units"
        raise ValidationFailed(errors=[{"field": "lines", "message": message}])
    issue_drafts(session, [(account, invoice)])
    return invoice


def draft_invoice(
    account: Account,
    *,
    invoice_id: str,
    lines: Sequence[Line],
    due_on: date,
    period: str | None,
    taxes: Sequence[Tax],
    created_by: str | None = None,
    run_id: str | None = None,
    billed_items: str | None = None,
) -> Invoice:
    """What an account is to be billed; not in the database yet."""
    subtotal = sum(line.amount_minor for line in lines)
    taxed = tax_lines(subtotal, account.currency, taxes)
    return Invoice(
        id=invoice_id,
        account_id=account.id,
        account_number=account.number,
        user_id=account.user_id,
        state=InvoiceState.DRAFT,
        period=period,
        currency=account.currency,
        lines=orjson.dumps([_line_document(line) for line in lines]).decode(),
        tax_lines=orjson.dumps(taxed).decode(),
        subtotal_minor=subtotal,
        total_minor=subtotal + sum(line["amount"]["amount_minor"] for line in taxed),
        paid_minor=0,
        credit_used_minor=0,
        credited_minor=0,
        disputed=False,
        due_on=due_on,
        created_by=created_by,
        run_id=run_id,
        billed_items=billed_items,
    )


def issue_drafts(session: Session, drafts: Sequence[tuple[Account, Invoice]]) -> None:
    """Issue and book invoices of locked accounts, taking the accounts' credit off at once.

    Their numbers have no gap before them: they go back when the transaction fails.
    """
    year = clock.today().year
    number = next_number(session, f"invoice-{year}", len(drafts))
    for index, (_, invoice) in enumerate(drafts):
        invoice.issue(f"INV-{year}-{number + index:06d}")
    session.add_all(invoice for _, invoice in drafts)
    session.flush()
    post_all(session, [_issue_of(account, invoice) for account, invoice in drafts])
    for account, invoice in drafts:
        settled = _use_credit(session, account, invoice)
        session.add(events.invoice_issued(invoice))
        if settled:
            session.add(events.invoice_paid(invoice, None))


def void_invoice(session: Session, *, invoice_id: str, voided_by: str) -> Invoice:
    """Cancel an invoice that is not paid yet; what was paid on it becomes credit, and what it billed is due again.

    Raises NotFound, InvoiceNotVoidable.
    """
    account, invoice = lock_invoice(session, invoice_id)
    credited = select(CreditNote.id).where(CreditNote.invoice_id == invoice_id).limit(1)
    if invoice.state not in OPEN_STATES or session.scalar(credited) is not None:
        raise InvoiceNotVoidable()
    post(
        session,
        account,
        invoice,
        LedgerKind.INVOICE_VOIDED,
        {
            LedgerAccount.REVENUE: invoice.subtotal_minor,
            LedgerAccount.TAX_PAYABLE: invoice.total_minor - invoice.subtotal_minor,
            LedgerAccount.RECEIVABLE: -invoice.due_minor,
            LedgerAccount.CUSTOMER_CREDIT: -invoice.paid_minor,
        },
        reference_id=invoice.id,
    )
    session.execute(
        update(InvoicePayment).where(InvoicePayment.invoice_id == invoice.id).values(applied_minor=0)
    )
    give_back(session, invoice)
    invoice.void(voided_by)
    session.add(events.invoice_voided(invoice))
    restore_if_clear(session, account)
    return invoice


def lock_invoice(session: Session, invoice_id: str) -> tuple[Account, Invoice]:
    """An invoice and its account as they are now, held until the commit. Raises NotFound."""
    account_id = session.scalar(select(Invoice.account_id).where(Invoice.id == invoice_id))
    if account_id is None:
        raise NotFound()
    account = lock_account(session, account_id)
    return account, session.get_one(Invoice, invoice_id, with_for_update=True, populate_existing=True)


def overdue_invoices(session: Session, account: Account) -> Sequence[Invoice]:
    """The account's overdue invoices, the longest due first."""
    overdue = select(Invoice).where(Invoice.account_id == account.id, Invoice.state == InvoiceState.OVERDUE)
    return session.scalars(overdue.order_by(Invoice.due_on, Invoice.id)).all()


def covered_by_credit(account: Account, invoices: Sequence[Invoice]) -> bool:
    """Whether the customer has as much with us in credit as is due on these."""
    return sum(invoice.due_minor for invoice in invoices) <= account.credit_minor


def restore_if_clear(session: Session, account: Account) -> None:
    """Lift a bar once nothing overdue remains."""
    if account.status is not AccountStatus.ACTIVE and covered_by_credit(
        account, overdue_invoices(session, account)
    ):
        account.restore()
        session.add(events.account_restored(account))


def _demand_currency(lines: Sequence[Line], currency: str) -> None:
    errors = [
        {"field": f"lines.{index}.unit_price.currency", "message": f"this account is billed in {currency}"}
        for index, line in enumerate(lines)
        if line.unit_price.currency != currency
    ]
    if errors:
        raise ValidationFailed(errors[0]["message"], errors=errors)


def _line_document(line: Line) -> dict[str, Any]:
    return {
        "description": line.description,
        "quantity": line.quantity,
        "unit_price": line.unit_price.model_dump(),
        "amount": {"amount_minor": line.amount_minor, "currency": line.unit_price.currency},
    }


def _issue_of(account: Account, invoice: Invoice) -> Posting:
    entries = {
        LedgerAccount.RECEIVABLE: invoice.total_minor,
        LedgerAccount.REVENUE: -invoice.subtotal_minor,
        LedgerAccount.TAX_PAYABLE: invoice.subtotal_minor - invoice.total_minor,
    }
    return Posting(account, invoice, LedgerKind.INVOICE_ISSUED, entries, reference_id=invoice.id)


def _use_credit(session: Session, account: Account, invoice: Invoice) -> bool:
    """Take the account's credit off a new invoice; whether that paid it."""
    usable = min(account.credit_minor, invoice.due_minor)
    if not usable:
        return False
    post(
        session,
        account,
        invoice,
        LedgerKind.CREDIT_APPLIED,
        {LedgerAccount.CUSTOMER_CREDIT: usable, LedgerAccount.RECEIVABLE: -usable},
        reference_id=invoice.id,
    )
    invoice.pay(usable, from_credit=True)
    return invoice.state is InvoiceState.PAID
