"""Events that billing emits."""

from datetime import datetime
from typing import Any

from billing.models import Account, AccountStatus, Allowance, CreditNote, Invoice
from common import clock
from common.db.session import NewEvent
from common.messaging import new_event

_LEVELS = {AccountStatus.SOFT_BARRED: "soft", AccountStatus.HARD_BARRED: "hard"}


def invoice_issued(invoice: Invoice) -> NewEvent:
    return new_event("invoice.issued", subject=invoice.user_id, data=_bill(invoice))


def invoice_reopened(invoice: Invoice, reason: str) -> NewEvent:
    """What had been paid is owed again: `amount_due` may be paid anew."""
    return new_event("invoice.reopened", subject=invoice.user_id, data=_bill(invoice) | {"reason": reason})


def invoice_voided(invoice: Invoice) -> NewEvent:
    return new_event("invoice.voided", subject=invoice.user_id, data=_bill(invoice))


def invoice_paid(invoice: Invoice, payment_id: str | None) -> NewEvent:
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


def invoice_reminder(invoice: Invoice) -> NewEvent:
    """It is due in a few days and not paid yet."""
    return new_event("invoice.reminder", subject=invoice.user_id, data=_bill(invoice))


def invoice_overdue(invoice: Invoice) -> NewEvent:
    """This is the notice: `bar_from` is the first day on which the service may be barred for it."""
    assert invoice.bar_from is not None
    return new_event(
        "invoice.overdue",
        subject=invoice.user_id,
        data={
            **_names(invoice),
            "amount_due": invoice.money(invoice.due_minor).model_dump(),
            "due_on": invoice.due_on.isoformat(),
            "bar_from": invoice.bar_from.isoformat(),
        },
    )


def invoice_credited(invoice: Invoice, note: CreditNote) -> NewEvent:
    """A credit note has been issued for it; `amount_due` is what is left to pay."""
    credit_note = {
        "credit_note_id": note.id,
        "credit_note_number": note.number,
        "amount": invoice.money(note.amount_minor).model_dump(),
        "reason": note.reason,
    }
    return new_event("invoice.credited", subject=invoice.user_id, data=_bill(invoice) | credit_note)


def usage_threshold_reached(
    account: Account,
    *,
    source: str,
    name: str,
    kind: str,
    percent: int,
    used: int,
    granted: int,
    until: datetime | None,
    currency: str | None = None,
    service_id: str | None = None,
) -> NewEvent:
    """So much of an allowance is used up, or of the month's cap on roaming (then in minor units of `currency`)."""
    return new_event(
        "usage.threshold_reached",
        subject=account.user_id,
        data={
            "user_id": account.user_id,
            "account_number": account.number,
            "source": source,
            "offering_name": name,
            "kind": kind,
            "percent": percent,
            "used": used,
            "granted": granted,
            "currency": currency,
            "service_id": service_id,
            "until": None if until is None else clock.rfc3339(until),
        },
    )


def allowance_used(allowance: Allowance) -> NewEvent:
    """How much of what a bought service brought is used by now. It only grows until `until`, so the highest holds."""
    return new_event(
        "allowance.used",
        subject=allowance.user_id,
        data={
            "user_id": allowance.user_id,
            "service_id": allowance.service_id,
            "kind": allowance.kind,
            "granted": allowance.granted,
            "used": allowance.used,
            "until": None if allowance.ends_at is None else clock.rfc3339(allowance.ends_at),
        },
    )


def account_barred(account: Account, reason: str) -> NewEvent:
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


def account_restored(account: Account) -> NewEvent:
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
