"""What corrects an issued invoice: credit notes, and the disputes that may lead to them."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from billing import events
from billing.config import DunningRules
from billing.errors import DisputeOpen, DisputeResolved, InvoiceNotDisputable, NotCreditable
from billing.models import (
    OPEN_STATES,
    CreditNote,
    Dispute,
    DisputeState,
    Invoice,
    InvoiceState,
    LedgerAccount,
    LedgerKind,
)
from billing.use_cases.accounts import next_number
from billing.use_cases.dunning import give_notice
from billing.use_cases.invoices import lock_invoice, restore_if_clear
from billing.use_cases.ledger import post
from common import clock, ids
from common.errors import NotFound, ValidationFailed
from common.money import Money

_LIVE = (*OPEN_STATES, InvoiceState.PAID)


def credit_invoice(
    session: Session, *, note_id: str, invoice_id: str, amount: Money, reason: str, created_by: str | None
) -> CreditNote:
    """Take an amount (taxes included) off an invoice: off what is due, and into the credit what is beyond.

    Revenue and taxes go back in the invoice's own proportion; all notes of a whole invoice together give back exactly
    what it had of each. Raises NotFound, NotCreditable, ValidationFailed.
    """
    account, invoice = lock_invoice(session, invoice_id)
    if amount.currency != invoice.currency:
        raise ValidationFailed(
            errors=[{"field": "amount.currency", "message": f"this invoice is in {invoice.currency}"}]
        )
    before = creditable(session, invoice)
    if invoice.state not in _LIVE or amount.amount_minor > before:
        raise NotCreditable()
    done = invoice.total_minor - before
    net = _net_of(invoice, done + amount.amount_minor) - _net_of(invoice, done)
    off_due = min(amount.amount_minor, invoice.due_minor)
    year = clock.today().year
    note = CreditNote(
        id=note_id,
        number=f"CN-{year}-{next_number(session, f'credit-note-{year}'):06d}",
        invoice_id=invoice.id,
        user_id=invoice.user_id,
        currency=invoice.currency,
        amount_minor=amount.amount_minor,
        net_minor=net,
        reason=reason,
        created_by=created_by,
    )
    session.add(note)
    post(
        session,
        account,
        invoice,
        LedgerKind.INVOICE_CREDITED,
        {
            LedgerAccount.REVENUE: net,
            LedgerAccount.TAX_PAYABLE: amount.amount_minor - net,
            LedgerAccount.RECEIVABLE: -off_due,
            LedgerAccount.CUSTOMER_CREDIT: off_due - amount.amount_minor,
        },
        reference_id=note.id,
    )
    if off_due:
        invoice.credit(off_due)
    session.add(events.invoice_credited(invoice, note))
    if off_due and invoice.state is InvoiceState.PAID:
        session.add(events.invoice_paid(invoice, None))
    restore_if_clear(session, account)
    return note


def credit_net(session: Session, *, invoice_id: str, net_minor: int, reason: str) -> int:
    """Take up to so much off an invoice, with the taxes that it had on that; what it was, both in minor units."""
    _, invoice = lock_invoice(session, invoice_id)
    done = invoice.total_minor - creditable(session, invoice)
    net_done = _net_of(invoice, done)
    net = min(net_minor, invoice.subtotal_minor - net_done)
    if net > 0:
        credit_invoice(
            session,
            note_id=ids.new_id(),
            invoice_id=invoice_id,
            amount=invoice.money(_gross_of(invoice, net_done + net) - done),
            reason=reason,
            created_by=None,
        )
    return net


def creditable(session: Session, invoice: Invoice) -> int:
    """What credit notes may still take off an invoice, in minor units."""
    credited = select(func.sum(CreditNote.amount_minor)).where(CreditNote.invoice_id == invoice.id)
    return invoice.total_minor - int(session.scalar(credited) or 0)


def open_dispute(session: Session, *, dispute_id: str, invoice_id: str, user_id: str, reason: str) -> Dispute:
    """A customer objects to an invoice of theirs; dunning leaves it alone until that is resolved.

    Raises NotFound, InvoiceNotDisputable, DisputeOpen.
    """
    _, invoice = lock_invoice(session, invoice_id)
    if invoice.user_id != user_id:
        raise NotFound()
    if invoice.state not in _LIVE:
        raise InvoiceNotDisputable()
    if invoice.disputed:
        raise DisputeOpen()
    invoice.disputed = True
    dispute = Dispute(
        id=dispute_id, invoice_id=invoice.id, user_id=user_id, state=DisputeState.OPEN, reason=reason
    )
    session.add(dispute)
    session.flush()
    return dispute


def resolve_dispute(
    session: Session,
    *,
    dispute_id: str,
    outcome: DisputeState,
    resolution: str,
    credit: Money | None,
    resolved_by: str,
    rules: DunningRules,
) -> Dispute:
    """Accept it, with a credit note if one is due, or reject it: then what is overdue gets a new notice.

    Raises NotFound, DisputeResolved, NotCreditable, ValidationFailed.
    """
    invoice_id = session.scalar(select(Dispute.invoice_id).where(Dispute.id == dispute_id))
    if invoice_id is None:
        raise NotFound()
    _, invoice = lock_invoice(session, invoice_id)
    dispute = session.get_one(Dispute, dispute_id, with_for_update=True)
    if dispute.state is not DisputeState.OPEN:
        raise DisputeResolved()
    dispute.resolve(outcome, resolution=resolution, by=resolved_by)
    invoice.disputed = False
    if credit is not None:
        credit_invoice(
            session,
            note_id=ids.new_id(),
            invoice_id=invoice_id,
            amount=credit,
            reason=f"dispute {dispute.id}",
            created_by=resolved_by,
        )
    if invoice.state is InvoiceState.OVERDUE:
        give_notice(session, invoice, rules)
    return dispute


def _net_of(invoice: Invoice, gross_minor: int) -> int:
    """The revenue in a part of an invoice's total, half up."""
    return (2 * gross_minor * invoice.subtotal_minor + invoice.total_minor) // (2 * invoice.total_minor)


def _gross_of(invoice: Invoice, net_minor: int) -> int:
    """The part of an invoice's total that has so much revenue in it: `_net_of` the other way round, exactly, since an
    invoice's total is never below its subtotal."""
    return (2 * net_minor * invoice.total_minor + invoice.subtotal_minor) // (2 * invoice.subtotal_minor)
