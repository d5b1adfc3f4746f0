"""Requests and responses of signing in and staying so."""

from datetime import datetime
from typing import Literal, Self

from pydantic import BaseModel, Field, RootModel

from auth.models import LoginSession
from auth.schemas.accounts import Identified, UserOut
from common.schemas import Body


class LoginIn(Identified):
    password: str = Field(min_length=1, max_length=256)


class MfaLoginIn(Body):
    mfa_token: str = Field(min_length=1, max_length=200)
    code: str = Field(min_length=6, max_length=20, description="of the authenticator app, or a recovery code")


class ProofIn(Body):
    password: str = Field(min_length=1, max_length=256)
    code: str | None = Field(
        default=None,
        min_length=6,
        max_length=20,
        description="of the authenticator app, when one is in force, or a recovery code",
    )


class RefreshIn(Body):
    refresh_token: str = Field(min_length=1, max_length=200)


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
