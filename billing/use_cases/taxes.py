"""Taxes on an invoice.

Each tax is taken on the net sum of the invoice (not line by line, and no tax on a tax) and rounded once, to the
nearest minor unit, half up. So the printed rate times the printed net sum gives the printed tax.
"""

from collections.abc import Sequence
from typing import Any

from billing.config import Tax

_SCALE = 1_000_000


def tax_lines(subtotal_minor: int, currency: str, taxes: Sequence[Tax]) -> list[dict[str, Any]]:
    """The tax lines of an invoice as they are answered; taxes that come to nothing are left out."""
    lines = []
    for tax in taxes:
        amount = tax_on(subtotal_minor, tax)
        if amount:
            lines.append(
                {
                    "code": tax.code,
                    "name": tax.name,
                    "rate_percent": f"{tax.rate_percent.normalize():f}",
                    "amount": {"amount_minor": amount, "currency": currency},
                }
            )
    return lines


def tax_on(subtotal_minor: int, tax: Tax) -> int:
    """Minor units, half up, in integers throughout."""
    parts_per_million = int(tax.rate_percent * 10_000)
    return (2 * subtotal_minor * parts_per_million + _SCALE) // (2 * _SCALE)
