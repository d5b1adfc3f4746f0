"""Invoices as PDF, in English, Sinhala and Tamil."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import orjson

from billing.config import Settings
from billing.documents.words import WORDS, day, money, month
from billing.models import Account, CreditNote, Invoice
from common.clock import OPERATOR_ZONE
from common.documents import render_pdf

TEMPLATE = Path(__file__).parent / "invoice.typ"


def invoice_pdf(
    invoice: Invoice,
    account: Account,
    notes: Sequence[CreditNote],
    settings: Settings,
    language: str | None = None,
) -> bytes:
    """The invoice in a language, by default the customer's, with the operator's name and logo."""
    spoken = language or (account.language if account.language in WORDS else "en")
    words = WORDS[spoken]

    def amount(minor: int) -> str:
        return money(minor, invoice.currency)

    def written(on: date) -> str:
        return day(on, spoken)

    logo = settings.operator_logo
    data: dict[str, Any] = {
        "language": spoken,
        "words": words,
        "operator": {
            "name": settings.operator_name,
            "address": [line.strip() for line in settings.operator_address.split("|") if line.strip()],
            "tax_number": settings.operator_tax_number,
            "logo": None if logo is None else logo.read_text("utf-8"),
        },
        "customer": {"name": account.name, "phone": account.phone, "account": invoice.account_number},
        "number": invoice.number or "–",
        "state": words["states"][invoice.state.value],
        "issued_on": "–" if invoice.issued_on is None else written(invoice.issued_on),
        "due_on": written(invoice.due_on),
        "period": None if invoice.period is None else month(invoice.period, spoken),
        "currency": invoice.currency,
        "lines": [
            {
                "description": line["description"],
                "quantity": f"{line['quantity']:,}",
                "unit_price": amount(line["unit_price"]["amount_minor"]),
                "amount": amount(line["amount"]["amount_minor"]),
            }
            for line in orjson.loads(invoice.lines)
        ],
        "subtotal": amount(invoice.subtotal_minor),
        "taxes": [
            {
                "name": f"{tax['name']} {tax['rate_percent']} %",
                "amount": amount(tax["amount"]["amount_minor"]),
            }
            for tax in orjson.loads(invoice.tax_lines)
        ],
        "total": amount(invoice.total_minor),
        "notes": [
            {
                "number": note.number,
                "on": written(note.created_at.astimezone(OPERATOR_ZONE).date()),
                "amount": amount(-note.amount_minor),
            }
            for note in notes
        ],
        "paid": amount(-invoice.paid_minor) if invoice.paid_minor else None,
        "due": amount(invoice.due_minor),
    }
    return render_pdf(TEMPLATE, data)
