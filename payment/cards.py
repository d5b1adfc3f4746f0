"""A card on its way from the request to the gateway: in memory only, masked wherever it is printed."""

from dataclasses import dataclass

from pydantic import SecretStr


@dataclass(frozen=True, slots=True)
class Card:
    """What the gateway needs for a charge. Of this only brand and last four digits may be kept."""

    number: SecretStr
    exp_month: int
    exp_year: int
    cvc: SecretStr
    name: str

    @property
    def last4(self) -> str:
        return self.number.get_secret_value()[-4:]

    @property
    def brand(self) -> str:
        return brand_of(self.number.get_secret_value())


def passes_luhn(number: str) -> bool:
    """Whether the last digit is the right check digit (ISO/IEC 7812)."""
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit)
        if place % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0


def brand_of(number: str) -> str:
    """The card scheme by its number range."""
    if number.startswith("4"):
        return "visa"
    if number[:2] in ("34", "37"):
        return "amex"
    if "51" <= number[:2] <= "55" or "2221" <= number[:4] <= "2720":
        return "mastercard"
    if number[:2] in ("62", "81"):
        return "unionpay"
    if "3528" <= number[:4] <= "3589":
        return "jcb"
    if number[:2] in ("60", "64", "65"):
        return "discover"
    return "other"
