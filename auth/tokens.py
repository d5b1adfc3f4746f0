"""Access tokens (RFC 7519): how they are signed, and what is in them."""

from datetime import timedelta
from typing import Any, NamedTuple

from flask import Flask
from flask_jwt_extended import JWTManager, create_access_token

from auth.keys import SigningKey
from common.identity import AUDIENCE, ISSUER


class _Bearer(NamedTuple):
    """Flask-JWT-Extended's `identity`: the key is chosen once, so that name and signature are of the same one."""

    user_id: str
    key: SigningKey


def init_tokens(app: Flask, life_s: int) -> None:
    app.config.update(
        JWT_ALGORITHM="RS256",
        JWT_ENCODE_ISSUER=ISSUER,
        JWT_ENCODE_AUDIENCE=AUDIENCE,
        JWT_ACCESS_TOKEN_EXPIRES=timedelta(seconds=life_s),
        JWT_ENCODE_NBF=False,  # always what `iat` says
        JWT_COOKIE_CSRF_PROTECT=False,  # no cookies: else each token has a claim for them
    )
    manager = JWTManager(app)
    manager.user_identity_loader(lambda bearer: bearer.user_id)
    manager.encode_key_loader(lambda bearer: bearer.key.private)
    manager.additional_headers_loader(lambda bearer: {"kid": bearer.key.kid})


def sign_token(key: SigningKey, user_id: str, claims: dict[str, Any]) -> str:
    """An access token of the current application."""
    token: str = create_access_token(_Bearer(user_id, key), additional_claims=claims)
    return token
