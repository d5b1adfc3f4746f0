"""Query strings of lists that have filters."""

from pydantic import Field

from common.db import PageQuery
from common.ids import UUID_PATTERN
from payment.models import CaseState


class PaymentsQuery(PageQuery):
    user_id: str | None = Field(default=None, pattern=f"^{UUID_PATTERN}$")
    reference_id: str | None = Field(default=None, pattern=f"^{UUID_PATTERN}$")


class CasesQuery(PageQuery):
    state: CaseState = CaseState.OPEN
