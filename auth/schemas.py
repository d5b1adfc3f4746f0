"""Requests and responses of auth."""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, Self

import phonenumbers
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel, model_validator

from auth.models import (
    Address,
    AuditEntry,
    KycDocument,
    KycState,
    KycSubmission,
    Language,
    Line,
    LoginSession,
    Passkey,
    Role,
    User,
)
from auth.nic import parse_nic
from common import clock
from common.db import PageQuery
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
    return value.lower()


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
OneTimeCode = Annotated[str, Field(pattern=r"^[0-9]{6}$", examples=["123456"])]
Label = Annotated[str, Field(min_length=1, max_length=50), AfterValidator(_printable)]


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


class LoginIn(Identified):
    password: str = Field(min_length=1, max_length=256)


class MfaLoginIn(Body):
    mfa_token: str = Field(min_length=1, max_length=200)
    code: str = Field(min_length=6, max_length=20, description="of the authenticator app, or a recovery code")


class CodeIn(Body):
    code: OneTimeCode


class ForgotIn(Identified):
    pass


class ResetIn(Identified):
    code: OneTimeCode
    new_password: Password


class PasswordChangeIn(Body):
    current_password: str = Field(min_length=1, max_length=256)
    new_password: Password


class RefreshIn(Body):
    refresh_token: str = Field(min_length=1, max_length=200)


class ProfileIn(Body):
    name: Name | None = None
    language: Language | None = None
    email: Email | None = None


class AddressIn(Body):
    label: Label = "home"
    line1: str = Field(min_length=1, max_length=200)
    line2: str | None = Field(default=None, max_length=200)
    city: str = Field(min_length=1, max_length=100)
    postal_code: str = Field(pattern=r"^[0-9A-Za-z -]{3,12}$", examples=["00100"])
    country: str = Field(default="LK", pattern=r"^[A-Z]{2}$")


class AddressChangeIn(Body):
    label: Label | None = None
    line1: str | None = Field(default=None, min_length=1, max_length=200)
    line2: str | None = Field(default=None, max_length=200)
    city: str | None = Field(default=None, min_length=1, max_length=100)
    postal_code: str | None = Field(default=None, pattern=r"^[0-9A-Za-z -]{3,12}$")
    country: str | None = Field(default=None, pattern=r"^[A-Z]{2}$")

    def changes(self) -> dict[str, Any]:
        """The fields that were given; only `line2` may be taken away."""
        given = self.model_dump(exclude_unset=True)
        return {name: value for name, value in given.items() if value is not None or name == "line2"}


class LineIn(Body):
    phone: Phone
    label: Label | None = None


class PasskeyRegistrationIn(Body):
    ceremony_id: str = Field(min_length=36, max_length=36)
    name: Label = "passkey"
    credential: dict[str, Any] = Field(description="the browser's answer: `credential.toJSON()`")


class PasskeyLoginIn(Body):
    ceremony_id: str = Field(min_length=36, max_length=36)
    credential: dict[str, Any] = Field(description="the browser's answer: `credential.toJSON()`")


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


class UserChangeIn(Body):
    roles: list[Role] | None = Field(default=None, min_length=1, max_length=3)
    active: bool | None = None


class UserQuery(PageQuery):
    query: str | None = Field(
        default=None, min_length=2, max_length=100, description="of phone, name or email"
    )


class KycQuery(PageQuery):
    state: KycState | None = None


def _instant(value: datetime) -> datetime:
    if not 2000 <= value.year <= 2200:
        raise ValueError("must be between 2000 and 2200")
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


Instant = Annotated[datetime, AfterValidator(_instant)]


class AuditQuery(PageQuery):
    user_id: str | None = Field(default=None, max_length=200)
    action: str | None = Field(default=None, max_length=100)
    since: Instant | None = Field(default=None, alias="from", description="recorded at or after")
    until: Instant | None = Field(default=None, alias="to", description="recorded before")


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


class MfaRequiredOut(BaseModel):
    mfa_required: Literal[True] = True
    mfa_token: str = Field(description="for POST /login/mfa, within five minutes")
    methods: list[str]


class LoginOut(RootModel[TokensOut | MfaRequiredOut]):
    """Tokens, or the wish for a second factor."""


class SentOut(BaseModel):
    expires_at: datetime


class AcceptedOut(BaseModel):
    status: str = "accepted"


class TotpOut(BaseModel):
    secret: str = Field(description="base32, to type in where a picture cannot be scanned")
    otpauth_uri: str


class RecoveryCodesOut(BaseModel):
    recovery_codes: list[str] = Field(description="shown once; each is good once in place of the app's code")


class CeremonyOut(BaseModel):
    ceremony_id: str
    options: dict[str, Any] = Field(description="for `navigator.credentials`, binary parts as base64url")


class PasskeyOut(BaseModel):
    id: str
    name: str
    backed_up: bool
    created_at: datetime
    last_used_at: datetime | None

    @classmethod
    def of(cls, passkey: Passkey) -> Self:
        return cls.model_validate(passkey, from_attributes=True)


class AddressOut(BaseModel):
    id: str
    label: str
    line1: str
    line2: str | None
    city: str
    postal_code: str
    country: str
    created_at: datetime

    @classmethod
    def of(cls, address: Address) -> Self:
        return cls.model_validate(address, from_attributes=True)


class LineOut(BaseModel):
    id: str
    phone: str
    label: str | None
    verified: bool
    created_at: datetime

    @classmethod
    def of(cls, line: Line) -> Self:
        return cls(
            id=line.id,
            phone=line.msisdn,
            label=line.label,
            verified=line.verified_at is not None,
            created_at=line.created_at,
        )


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


class ActingOut(BaseModel):
    access_token: str
    token_type: str = "Bearer"  # noqa: S105 -- the scheme (RFC 6750), not a secret
    expires_in: int
    user: UserOut


class AuditEntryOut(BaseModel):
    id: str
    seq: int | None
    action: str
    source: str
    user_id: str
    actor_id: str | None
    ip: str | None
    happened_at: datetime
    recorded_at: datetime
    correlation_id: str
    data: dict[str, Any]
    hash: str | None

    @classmethod
    def of(cls, entry: AuditEntry) -> Self:
        return cls.model_validate(entry, from_attributes=True)


class VerdictOut(BaseModel):
    valid: bool
    entries: int
    first_seq: int
    last_seq: int
    last_hash: str
    broken_at: int | None
    reason: str | None


class SessionOut(BaseModel):
    id: str
    user_agent: str
    ip: str
    created_at: datetime
    last_used_at: datetime

    @classmethod
    def of(cls, session: LoginSession) -> Self:
        return cls.model_validate(session, from_attributes=True)


class JwksOut(BaseModel):
    keys: list[dict[str, str]]
