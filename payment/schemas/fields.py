"""Fields that several requests have."""

import re
from typing import Annotated

from pydantic import Field, SecretStr

from common.ids import UUID_PATTERN

Id = Annotated[str, Field(pattern=f"^{UUID_PATTERN}$")]


def digits(value: SecretStr, pattern: str, message: str) -> SecretStr:
    digits = re.sub(r"[ -]", "", value.get_secret_value())
    if re.fullmatch(pattern, digits) is None:
        raise ValueError(message)
    return SecretStr(digits)
