"""Events that payment emits."""

from typing import Any

from common import clock
from common.db.session import NewEvent
from common.messaging import new_event
from payment.models import Leg, Payment, Refund


def _of(payment: Payment) -> dict[str, Any]:
    return {
        "payment_id": payment.id,
        "user_id": payment.user_id,
        "reference": {"type": payment.reference_type.value, "id": payment.reference_id},
        "amount": _money(payment.amount_minor, payment.currency),
    }


def _method(payment: Payment) -> dict[str, Any]:
    return {"type": payment.method_type.value, "brand": payment.brand, "last4": payment.last4}


def _money(amount_minor: int, currency: str) -> dict[str, Any]:
    return {"amount_minor": amount_minor, "currency": currency}


def payment_completed(payment: Payment) -> NewEvent:
    at = payment.completed_at or clock.now()
    return new_event(
        "payment.completed",
        subject=payment.user_id,
        data=_of(payment) | {"method": _method(payment), "completed_at": clock.rfc3339(at)},
    )


def payment_failed(payment: Payment) -> NewEvent:
    return new_event(
        "payment.failed",
        subject=payment.user_id,
        data=_of(payment) | {"method": _method(payment), "reason": payment.failure_reason},
    )


def payment_action_required(payment: Payment) -> NewEvent:
    return new_event("payment.action_required", subject=payment.user_id, data=_of(payment))


def payment_refunded(payment: Payment, refund: Refund) -> NewEvent:
    return new_event(
        "payment.refunded",
        subject=payment.user_id,
        data=_of(payment)
        | {
            "refund_id": refund.id,
            "amount": _money(refund.amount_minor, refund.currency),
            "reason": refund.reason,
            "method": _method(payment),
        },
    )


def wallet_changed(entry: Leg, user_id: str) -> NewEvent:
    """`wallet.credited` or `wallet.debited`; the amount is positive in both."""
    return new_event(
        "wallet.credited" if entry.amount_minor > 0 else "wallet.debited",
        subject=user_id,
        data=_entry(entry, user_id),
    )


def wallet_low_balance(entry: Leg, user_id: str) -> NewEvent:
    """The balance fell below the wallet's bound by this entry."""
    return new_event("wallet.low_balance", subject=user_id, data=_entry(entry, user_id))


def _entry(entry: Leg, user_id: str) -> dict[str, Any]:
    assert entry.balance_minor is not None
    return {
        "user_id": user_id,
        "entry_id": entry.id,
        "amount": _money(abs(entry.amount_minor), entry.currency),
        "balance": _money(entry.balance_minor, entry.currency),
        "reason": entry.reason.value,
    }
