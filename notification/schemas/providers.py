"""What SMS providers send."""

from typing import Annotated

from pydantic import Field, StringConstraints

from common.schemas import Body


class ReceiptIn(Body):
    """What the HTTP gateway says later of a message."""

    reference: str = Field(min_length=1, max_length=200, description="the id that it answered, or ours")
    status: Annotated[str, StringConstraints(pattern="^(delivered|failed)$")]
    reason: str = Field(default="", max_length=200)


class InboundSmsIn(Body):
    """An SMS from a customer."""

    sender: str = Field(alias="from", min_length=3, max_length=20)
    text: str = Field(max_length=2000)
