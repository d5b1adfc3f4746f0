"""What the request models of all services have in common."""

from pydantic import BaseModel, ConfigDict


class Body(BaseModel):
    """Base of request models: unknown fields refused, no silent conversions, no leading or trailing blanks."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, str_strip_whitespace=True, hide_input_in_errors=True
    )
