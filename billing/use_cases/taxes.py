"""Taxes on an invoice.

Each tax is taken on the net sum of the invoice (not line by line), together with the rounded taxes that it names in
`on`, and rounded once, to the nearest minor unit, half up. So what is printed can be checked with what is printed.
"""

from collections.abc import Sequence
from typing import Any

from billing.config import Tax

_SCALE = 1_000_000


def tax_lines(subtotal_minor: int, currency: str, taxes: Sequence[Tax]) -> list[dict[str, Any]]:
    """The tax lines of an invoice as they are answered; taxes that come to nothing are left out."""
    lines = []
    amounts: dict[str, int] = {}
    for tax in taxes:
        amount = amounts[tax.code] = tax_on(subtotal_minor + sum(amounts[code] for code in tax.on), tax)
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


def tax_on(base_minor: int, tax: Tax) -> int:
    """Minor units, half up, in integers throughout."""
    parts_per_million = int(tax.rate_percent * 10_000)
    return (2 * base_minor * parts_per_million + _SCALE) // (2 * _SCALE)
