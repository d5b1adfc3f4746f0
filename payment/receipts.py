"""Receipts: a captured payment on paper, in the customer's language."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from common.clock import OPERATOR_ZONE
from common.documents import render_pdf
from payment.errors import NoReceipt
from payment.models import MethodType, Payment, PaymentState, ReferenceType, Refund, RefundState

TEMPLATE = Path(__file__).parent / "documents" / "receipt.typ"
CAPTURED = (PaymentState.COMPLETED, PaymentState.REFUNDING, PaymentState.REFUNDED)


class Language(StrEnum):
    ENGLISH = "en"
    SINHALA = "si"
    TAMIL = "ta"


WORDS: dict[Language, dict[str, str]] = {
    Language.ENGLISH: {
        "title": "Receipt",
        "number": "Payment",
        "date": "Date",
        "for": "For",
        "method": "Paid by",
        "paid": "Amount paid",
        "refunds": "Given back",
        "order": "Order",
        "invoice": "Bill",
        "top_up": "Wallet top-up",
        "wallet": "Wallet",
        "card": "Card",
    },
    Language.SINHALA: {
        "title": "රිසිට්පත",
        "number": "ගෙවීම",
        "date": "දිනය",
        "for": "විස්තරය",
        "method": "ගෙවූ ආකාරය",
        "paid": "ගෙවූ මුදල",
        "refunds": "ආපසු ගෙවූ මුදල්",
        "order": "ඇණවුම",
        "invoice": "බිල්පත",
        "top_up": "පසුම්බිය පිරවීම",
        "wallet": "පසුම්බිය",
        "card": "කාඩ්පත",
    },
    Language.TAMIL: {
        "title": "ரசீது",
        "number": "கட்டணம்",
        "date": "தேதி",
        "for": "விவரம்",
        "method": "செலுத்திய முறை",
        "paid": "செலுத்திய தொகை",
        "refunds": "திருப்பிச் செலுத்தியது",
        "order": "ஆர்டர்",
        "invoice": "பில்",
        "top_up": "பணப்பை நிரப்புதல்",
        "wallet": "பணப்பை",
        "card": "அட்டை",
    },
}


def render_receipt(
    payment: Payment, refunds: Sequence[Refund], *, operator: str, language: Language
) -> bytes:
    """The receipt as PDF; the same bytes for the same payment. Raises NoReceipt unless money was captured."""
    if payment.state not in CAPTURED or payment.completed_at is None:
        raise NoReceipt()
    words = WORDS[language]
    what = words[payment.reference_type.value]
    if payment.reference_type is not ReferenceType.TOP_UP:
        what = f"{what} {payment.reference_id}"
    by = words["wallet"]
    if payment.method_type is not MethodType.WALLET:
        by = f"{words['card']} {(payment.brand or '').capitalize()} •••• {payment.last4}"
    return render_pdf(
        TEMPLATE,
        {
            "operator": operator,
            "title": words["title"],
            "rows": [
                [words["number"], payment.id],
                [words["date"], _local(payment.completed_at)],
                [words["for"], what],
                [words["method"], by],
            ],
            "paid": [words["paid"], str(payment.amount)],
            "refunds_title": words["refunds"],
            "refunds": [
                [_local(refund.completed_at), str(refund.amount)]
                for refund in refunds
                if refund.state is RefundState.COMPLETED and refund.completed_at is not None
            ],
        },
    )


def _local(at: datetime) -> str:
    return f"{at.astimezone(OPERATOR_ZONE):%Y-%m-%d %H:%M}"
