"""What the payment service collected and gave back for invoices. Each payment and each refund counts once."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing import events
from billing.models import (
    OPEN_STATES,
    Account,
    Invoice,
    InvoicePayment,
    InvoiceRefund,
    InvoiceState,
    LedgerAccount,
    LedgerKind,
)
from billing.use_cases.invoices import lock_invoice, restore_if_clear
from billing.use_cases.ledger import post
from common.errors import NotFound
from common.messaging import NotYet, Rejected
from common.money import Money


def apply_payment(
    session: Session, *, payment_id: str, invoice_id: str, amount: Money, completed_at: datetime
) -> None:
    """Take a payment off its invoice; what is more than due becomes the account's credit. Safe to repeat.

    Raises NotYet when the invoice is not known, Rejected when the money cannot be its.
    """
    try:
        account, invoice = lock_invoice(session, invoice_id)
    except NotFound:
        raise NotYet(f"no invoice {invoice_id}") from None
    if session.get(InvoicePayment, payment_id) is not None:
        return
    _demand(amount, invoice.currency)
    applied = min(amount.amount_minor, invoice.due_minor)
    session.add(
        InvoicePayment(
            id=payment_id,
            invoice_id=invoice.id,
            amount_minor=amount.amount_minor,
            currency=amount.currency,
            applied_minor=applied,
            refunded_minor=0,
            completed_at=completed_at,
        )
    )
    post(
        session,
        account,
        invoice,
        LedgerKind.PAYMENT_RECEIVED,
        {
            LedgerAccount.CASH: amount.amount_minor,
            LedgerAccount.RECEIVABLE: -applied,
            LedgerAccount.CUSTOMER_CREDIT: applied - amount.amount_minor,
        },
        reference_id=payment_id,
        payment_id=payment_id,
    )
    if applied:
        invoice.pay(applied)
        if invoice.state is InvoiceState.PAID:
            session.add(events.invoice_paid(invoice, payment_id))
    restore_if_clear(session, account)


def reverse_payment(session: Session, *, refund_id: str, payment_id: str, amount: Money) -> None:
    """Book money that went back: out of what the payment left in credit, then off its invoice. Safe to repeat.

    What that would make due again on its invoice is paid by other credit of the account (of a credit note, say) as far
    as there is any. Credit of the payment that has paid other invoices meanwhile is owed again on those, newest first.
    Raises NotYet before the payment is known, Rejected when more would go back than came.
    """
    invoice_id = session.scalar(select(InvoicePayment.invoice_id).where(InvoicePayment.id == payment_id))
    if invoice_id is None:
        raise NotYet(f"no payment {payment_id}")
    account, invoice = lock_invoice(session, invoice_id)
    if session.get(InvoiceRefund, refund_id) is not None:
        return
    payment = session.get_one(InvoicePayment, payment_id, with_for_update=True)
    _demand(amount, payment.currency)
    kept = payment.amount_minor - payment.refunded_minor
    if amount.amount_minor > kept:
        raise Rejected(f"refund of {amount} on payment {payment_id}, of which {kept} minor units are left")
    session.add(
        InvoiceRefund(
            id=refund_id, payment_id=payment_id, amount_minor=amount.amount_minor, currency=amount.currency
        )
    )
    off_credit = min(amount.amount_minor, kept - payment.applied_minor)
    off_invoice = amount.amount_minor - off_credit
    spent = off_credit - min(off_credit, account.credit_minor)
    covered = min(off_invoice, account.credit_minor - (off_credit - spent))
    from_credit = _find_spent_credit(session, account, spent)
    post(
        session,
        account,
        invoice,
        LedgerKind.PAYMENT_REFUNDED,
        {
            LedgerAccount.CASH: -amount.amount_minor,
            LedgerAccount.RECEIVABLE: off_invoice - covered + spent,
            LedgerAccount.CUSTOMER_CREDIT: off_credit - spent + covered,
        },
        reference_id=refund_id,
        payment_id=payment_id,
    )
    payment.applied_minor -= off_invoice
    payment.refunded_minor += amount.amount_minor
    invoice.keep_paid_by_credit(covered)
    for other, share in from_credit.items():
        other.reopen(share, from_credit=True)
    reopened = dict.fromkeys(from_credit)
    if off_invoice > covered:
        invoice.reopen(off_invoice - covered)
        reopened[invoice] = None
    for changed in reopened:
        session.add(events.invoice_reopened(changed, "payment_refunded"))


def _find_spent_credit(session: Session, account: Account, spent_minor: int) -> dict[Invoice, int]:
    """The invoices on which so much of the account's credit was used, and the share of each."""
    shares: dict[Invoice, int] = {}
    if spent_minor == 0:
        return shares
    users = (
        select(Invoice)
        .where(
            Invoice.account_id == account.id,
            Invoice.credit_used_minor > 0,
            Invoice.state.in_([*OPEN_STATES, InvoiceState.PAID]),
        )
        .order_by(Invoice.id.desc())
    )
    for invoice in session.scalars(users):
        share = min(spent_minor, invoice.credit_used_minor)
        shares[invoice] = share
        spent_minor -= share
        if spent_minor == 0:
            return shares
    raise Rejected(f"account {account.number} has spent credit that no invoice shows")


def _demand(amount: Money, currency: str) -> None:
    if amount.currency != currency or amount.amount_minor <= 0:
        raise Rejected(f"{amount} is not an amount that can be booked in {currency}")
