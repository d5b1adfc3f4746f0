"""Verification of access tokens, lean: a token seen before costs a dictionary look-up until it expires."""

import threading
from dataclasses import dataclass

import jwt

from common import clock
from common.identity.keys import KeySet

ISSUER = "sri-care-auth"
AUDIENCE = "sri-care"
_REQUIRED = ["exp", "iat", "iss", "aud", "sub", "sid"]
_CACHE_SIZE = 5000
_MAX_LENGTH = 8192


class InvalidToken(Exception):
    """The token is not one that auth issued for us, or it is not valid any more."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller. `actor_id` is the agent who acts for the user, if one does. Times are epoch seconds."""

    user_id: str
    session_id: str
    roles: frozenset[str]
    issued_at: float
    expires_at: int
    actor_id: str | None = None


class Verifier:
    """Checks signature (RS256 only), `kid`, `iss`, `aud`, `exp`; knows nothing of revocation."""

    def __init__(self, keys: KeySet) -> None:
        self._keys = keys
        self._seen: dict[str, Identity] = {}
        self._lock = threading.Lock()

    def verify(self, token: str) -> Identity:
        """The identity in a token. Raises InvalidToken, or KeysUnavailable when no key can be had."""
        found = self._seen.get(token)
        now = clock.now().timestamp()
        if found is not None:
            if found.expires_at <= now:
                raise InvalidToken("expired")
            return found
        found = self._decode(token)
        with self._lock:
            if len(self._seen) >= _CACHE_SIZE:
                self._seen.clear()
            self._seen[token] = found
        return found

    def _decode(self, token: str) -> Identity:
        if len(token) > _MAX_LENGTH:
            raise InvalidToken("too long")
        try:
            header = jwt.get_unverified_header(token)
            kid = header.get("kid")
            if header.get("alg") != "RS256" or not isinstance(kid, str):
                raise InvalidToken("not signed as ours are")
            key = self._keys.get(kid)
            if key is None:
                raise InvalidToken("unknown key")
            claims = jwt.decode(
                token, key, algorithms=["RS256"], audience=AUDIENCE, issuer=ISSUER,
                options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )  # fmt: skip
            found = Identity(
                user_id=str(claims["sub"]),
                session_id=str(claims["sid"]),
                roles=frozenset(str(role) for role in claims.get("roles", ())),
                issued_at=float(claims["iat"]),
                expires_at=int(claims["exp"]),
                actor_id=claims.get("act"),
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise InvalidToken(type(error).__name__) from None
        if found.expires_at <= clock.now().timestamp():
            raise InvalidToken("expired")
        return found
