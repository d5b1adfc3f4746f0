"""Requests and responses about authenticator apps and passkeys."""

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, Field

from auth.models import Passkey
from auth.schemas.fields import Label
from common.schemas import Body


class PasskeyRegistrationIn(Body):
    ceremony_id: str = Field(min_length=36, max_length=36)
    name: Label = "passkey"
    credential: dict[str, Any] = Field(description="the browser's answer: `credential.toJSON()`")


class PasskeyLoginIn(Body):
    ceremony_id: str = Field(min_length=36, max_length=36)
    credential: dict[str, Any] = Field(description="the browser's answer: `credential.toJSON()`")


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
