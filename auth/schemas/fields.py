"""Fields that several requests have."""

from typing import Annotated

import phonenumbers
from pydantic import AfterValidator, Field

HOME_REGION = "LK"


def to_e164(value: str) -> str:
    """A phone number in any usual Sri Lankan or international form as E.164. Raises ValueError."""
    try:
        number = phonenumbers.parse(value, HOME_REGION)
    except phonenumbers.NumberParseException:
        raise ValueError("not a phone number") from None
    if not phonenumbers.is_valid_number(number):
        raise ValueError("not a valid phone number")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _email(value: str) -> str:
    local, at, domain = value.partition("@")
    if not (
        at and local and "." in domain and " " not in value and "@" not in domain and value.isprintable()
    ):
        raise ValueError("not an email address")
    return value.lower()


def printable(value: str) -> str:
    if any(ord(char) < 32 or ord(char) == 127 for char in value):
        raise ValueError("must not contain control characters")
    return value


Phone = Annotated[str, Field(min_length=3, max_length=40, examples=["+94771234567"]), AfterValidator(to_e164)]
Email = Annotated[
    str, Field(min_length=3, max_length=254, examples=["nimali@example.lk"]), AfterValidator(_email)
]
Name = Annotated[
    str, Field(min_length=1, max_length=200, examples=["Nimali Perera"]), AfterValidator(printable)
]
Password = Annotated[str, Field(min_length=8, max_length=256)]
OneTimeCode = Annotated[str, Field(pattern=r"^[0-9]{6}$", examples=["123456"])]
Label = Annotated[str, Field(min_length=1, max_length=50), AfterValidator(printable)]
