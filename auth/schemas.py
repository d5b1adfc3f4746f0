"""Requests and responses of auth."""

from datetime import datetime
from typing import Annotated, Self

import phonenumbers
from pydantic import AfterValidator, BaseModel, Field, model_validator

from auth.models import Language, LoginSession, User
from common.schemas import Body

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
    return f"{local}@{domain.lower()}"


def _printable(value: str) -> str:
    if any(ord(char) < 32 or ord(char) == 127 for char in value):
        raise ValueError("must not contain control characters")
    return value


Phone = Annotated[str, Field(min_length=3, max_length=40, examples=["+94771234567"]), AfterValidator(to_e164)]
Email = Annotated[
    str, Field(min_length=3, max_length=254, examples=["nimali@example.lk"]), AfterValidator(_email)
]
Name = Annotated[
    str, Field(min_length=1, max_length=200, examples=["Nimali Perera"]), AfterValidator(_printable)
]
Password = Annotated[str, Field(min_length=8, max_length=256)]


class RegisterIn(Body):
    phone: Phone
    password: Password
    name: Name
    email: Email | None = None
    language: Language = Language.ENGLISH


class LoginIn(Body):
    phone: Phone | None = None
    email: Email | None = None
    password: str = Field(min_length=1, max_length=256)

    @model_validator(mode="after")
    def _one_identifier(self) -> Self:
        if (self.phone is None) == (self.email is None):
            raise ValueError("give either phone or email")
        return self


class RefreshIn(Body):
    refresh_token: str = Field(min_length=1, max_length=200)


class ProfileIn(Body):
    name: Name | None = None
    language: Language | None = None


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
    def of(cls, user: User) -> Self:
        return cls(
            id=user.id,
            phone=user.phone,
            email=user.email,
            name=user.name,
            language=user.language,
            roles=user.roles,
            active=user.active,
            phone_verified=user.phone_verified_at is not None,
            email_verified=user.email_verified_at is not None,
            created_at=user.created_at,
        )


class TokensOut(BaseModel):
    user: UserOut
    access_token: str
    refresh_token: str
    token_type: str = "Bearer"  # noqa: S105 -- the scheme (RFC 6750), not a secret
    expires_in: int = Field(description="seconds until the access token expires")


class SessionOut(BaseModel):
    id: str
    user_agent: str
    ip: str
    created_at: datetime
    last_used_at: datetime

    @classmethod
    def of(cls, session: LoginSession) -> Self:
        return cls(
            id=session.id,
            user_agent=session.user_agent,
            ip=session.ip,
            created_at=session.created_at,
            last_used_at=session.last_used_at,
        )


class JwksOut(BaseModel):
    keys: list[dict[str, str]]
