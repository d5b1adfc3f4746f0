"""Requests and responses of identification."""

from datetime import date, datetime
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from auth.models import KycDocument, KycState, KycSubmission
from auth.nic import parse_nic
from auth.schemas.fields import Name
from common import clock
from common.db import PageQuery
from common.schemas import Body


def _nic(value: str) -> str:
    return parse_nic(value).number


class KycIn(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    nic: Annotated[str, Field(max_length=20, examples=["912680444V"]), AfterValidator(_nic)]
    full_name: Name
    date_of_birth: date

    @model_validator(mode="after")
    def _born_as_the_number_says(self) -> Self:
        if not date(1900, 1, 1) <= self.date_of_birth < clock.today():
            raise ValueError("date_of_birth must be in the past")
        if not parse_nic(self.nic).fits(self.date_of_birth):
            raise ValueError("nic and date_of_birth do not belong together")
        return self


class RejectIn(Body):
    reason: str = Field(min_length=1, max_length=500)


class KycQuery(PageQuery):
    state: KycState | None = None


class KycDocumentOut(BaseModel):
    id: str
    media_type: str
    size: int
    uploaded_name: str

    @classmethod
    def of(cls, document: KycDocument) -> Self:
        return cls.model_validate(document, from_attributes=True)


class KycOut(BaseModel):
    id: str
    user_id: str
    state: KycState
    nic: str
    full_name: str
    date_of_birth: date
    submitted_at: datetime
    reviewed_at: datetime | None
    reason: str | None
    documents: list[KycDocumentOut]

    @classmethod
    def of(cls, submission: KycSubmission) -> Self:
        return cls.model_validate(submission, from_attributes=True)
