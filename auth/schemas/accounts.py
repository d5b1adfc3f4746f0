"""Requests and responses about accounts and their passwords."""

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, Field, model_validator
from sqlalchemy import Row

from auth.models import Language, User
from auth.schemas.fields import Email, Name, OneTimeCode, Password, Phone
from common.schemas import Body


class RegisterIn(Body):
    phone: Phone
    password: Password
    name: Name
    email: Email | None = None
    language: Language = Language.ENGLISH


class Identified(Body):
    """A request that names an account by its number or its address."""

    phone: Phone | None = None
    email: Email | None = None

    @model_validator(mode="after")
    def _one_identifier(self) -> Self:
        if (self.phone is None) == (self.email is None):
            raise ValueError("give either phone or email")
        return self

    @property
    def identifier(self) -> str:
        return self.phone or self.email or ""


class ForgotIn(Identified):
    pass


class ResetIn(Identified):
    code: OneTimeCode
    new_password: Password


class PasswordChangeIn(Body):
    current_password: str = Field(min_length=1, max_length=256)
    new_password: Password


class ProfileIn(Body):
    name: Name | None = None
    language: Language | None = None
    email: Email | None = None


class CodeIn(Body):
    code: OneTimeCode


class PhoneIn(Body):
    phone: Phone


class PhoneCodeIn(PhoneIn):
    code: OneTimeCode


class UserOut(BaseModel):
    id: str
    phone: str
    email: str | None
    name: str
    language: Language
    roles: list[str]
    active: bool
    phone_verified: bool
    email_verified: bool
    created_at: datetime

    @classmethod
    def of(cls, user: User | Row[Any]) -> Self:
        """From a user, or from all columns of `users`."""
        return cls(
            id=user.id,
            phone=user.released_phone or user.phone,
            email=user.released_email or user.email,
            name=user.name,
            language=user.language,
            roles=user.roles,
            active=user.active,
            phone_verified=user.phone_verified_at is not None,
            email_verified=user.email_verified_at is not None,
            created_at=user.created_at,
        )


class SentOut(BaseModel):
    expires_at: datetime


class AcceptedOut(BaseModel):
    status: str = "accepted"
