"""Events that billing emits."""

from datetime import date
from typing import Any

from billing.models import Account, AccountStatus, Invoice
from common import clock
from common.db.tables import Outbox
from common.messaging import new_event

_LEVELS = {AccountStatus.SOFT_BARRED: "soft", AccountStatus.HARD_BARRED: "hard"}


def invoice_issued(invoice: Invoice) -> Outbox:
    return new_event("invoice.issued", subject=invoice.user_id, data=_bill(invoice))


def invoice_reopened(invoice: Invoice, reason: str) -> Outbox:
    """What had been paid is owed again: `amount_due` may be paid anew."""
    return new_event("invoice.reopened", subject=invoice.user_id, data=_bill(invoice) | {"reason": reason})


def invoice_voided(invoice: Invoice) -> Outbox:
    return new_event("invoice.voided", subject=invoice.user_id, data=_bill(invoice))


def invoice_paid(invoice: Invoice, payment_id: str | None) -> Outbox:
    """`payment_id` is the payment that completed it; None when the account's credit did."""
    assert invoice.paid_at is not None
    return new_event(
        "invoice.paid",
        subject=invoice.user_id,
        data={
            **_names(invoice),
            "total": invoice.money(invoice.total_minor).model_dump(),
            "payment_id": payment_id,
            "paid_at": clock.rfc3339(invoice.paid_at),
        },
    )


def invoice_reminder(invoice: Invoice) -> Outbox:
    """It is due in a few days and not paid yet."""
    return new_event("invoice.reminder", subject=invoice.user_id, data=_bill(invoice))


def invoice_overdue(invoice: Invoice, *, bar_from: date) -> Outbox:
    """This is the notice: `bar_from` is the first day on which the service may be barred for it."""
    return new_event(
        "invoice.overdue",
        subject=invoice.user_id,
        data={
            **_names(invoice),
            "amount_due": invoice.money(invoice.due_minor).model_dump(),
            "due_on": invoice.due_on.isoformat(),
            "bar_from": bar_from.isoformat(),
        },
    )


def account_barred(account: Account, reason: str) -> Outbox:
    return new_event(
        "account.barred",
        subject=account.user_id,
        data={
            "account_id": account.id,
            "account_number": account.number,
            "user_id": account.user_id,
            "level": _LEVELS[account.status],
            "reason": reason,
        },
    )


def account_restored(account: Account) -> Outbox:
    return new_event(
        "account.restored",
        subject=account.user_id,
        data={"account_id": account.id, "account_number": account.number, "user_id": account.user_id},
    )


def _names(invoice: Invoice) -> dict[str, Any]:
    return {
        "invoice_id": invoice.id,
        "number": invoice.number,
        "user_id": invoice.user_id,
        "account_number": invoice.account_number,
    }


def _bill(invoice: Invoice) -> dict[str, Any]:
    return {
        **_names(invoice),
        "total": invoice.money(invoice.total_minor).model_dump(),
        "amount_due": invoice.money(invoice.due_minor).model_dump(),
        "due_on": invoice.due_on.isoformat(),
    }
