"""What several requests and responses of billing are made of."""

from datetime import date
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from common.ids import UUID_PATTERN
from common.money import MAX_MINOR

MAX_SUBTOTAL_MINOR = MAX_MINOR // 1000
"""Ten thousand million rupees: leaves room for taxes, and for an account to owe many of these."""


_JOINERS = str.maketrans("", "", "\u200c\u200d")
"""Without them Sinhala cannot be written (ශ්‍රී)."""


def printable(value: str) -> str:
    if not value.translate(_JOINERS).isprintable():
        raise ValueError("must not contain control characters")
    return value


def plausible(value: date) -> date:
    if not 2000 <= value.year < 2100:
        raise ValueError("must lie between 2000 and 2099")
    return value


UserId = Annotated[str, Field(pattern=f"^{UUID_PATTERN}$", description="a user id")]
Description = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(printable)]
Text = Annotated[str, Field(min_length=1, max_length=1000)]
Day = Annotated[date, AfterValidator(plausible)]
PERIOD = r"^20\d\d-(0[1-9]|1[0-2])$"


class CustomerQuery(BaseModel):
    """Whose things: for agents and admins, the signed-in user's own when not given."""

    model_config = ConfigDict(extra="forbid")

    user_id: UserId | None = None


class SumOut(BaseModel):
    """Money summed up, over customers or over bills: not bounded as a single amount is."""

    amount_minor: int
    currency: str
