"""The card of every test's customer: what its number does is in the contract, and it never expires."""

from typing import Any

from common import clock

EXPIRY_YEAR = clock.today().year + 4


def card_fields(number: str = "4242424242424242", **changes: Any) -> dict[str, Any]:
    """A card as a request to pay names it."""
    fields = {"number": number, "exp_month": 12, "exp_year": EXPIRY_YEAR, "cvc": "123", "name": "N Perera"}
    return fields | changes
