"""The public keys that tokens are verified with: auth's JWKS, cached, stored, refetched with restraint."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import jwt
import orjson
from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError

from common.db import reading, transaction
from common.db.tables import SigningKey

log = logging.getLogger(__name__)

REFETCH_AFTER_S = 10.0
"""An unknown `kid` asks auth again at most this often, so that forged ones cannot hammer it."""
MAX_AGE_S = 300.0
"""Known keys are refreshed this often, so that a withdrawn key is forgotten."""


class KeysUnavailable(Exception):
    """No key is known and auth cannot be asked: nobody can be let in or refused for good."""


class KeySource(Protocol):
    """Where a JWKS document comes from."""

    def __call__(self) -> dict[str, Any]: ...


def http_source(url: str) -> KeySource:
    """Fetch the JWKS over HTTP. Raises OSError or ValueError."""

    def fetch() -> dict[str, Any]:
        import httpx  # a tenth of the time that a process takes to start, and few ever ask

        try:
            response = httpx.get(url, timeout=2.0)
            response.raise_for_status()
        except httpx.HTTPError as error:
            raise OSError(type(error).__name__) from error
        document: dict[str, Any] = response.json()
        return document

    return fetch


class KeySet:
    """Parsed RSA keys by `kid`. Needs an application context for its stored copy."""

    def __init__(self, source: KeySource, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._monotonic = monotonic
        self._keys: dict[str, Any] = {}
        self._tried_at = float("-inf")
        self._fetched_at = float("-inf")
        self._lock = threading.Lock()

    def get(self, kid: str) -> Any | None:
        """The key, or None when auth does not know it. Raises KeysUnavailable when that cannot be found out."""
        now = self._monotonic()
        if kid in self._keys and now - self._fetched_at < MAX_AGE_S:
            return self._keys[kid]
        if now - self._tried_at >= REFETCH_AFTER_S or not self._keys:
            with self._lock:  # before the first answer of auth all wait for the one who asks
                if self._monotonic() - self._tried_at >= REFETCH_AFTER_S:
                    self._refresh()
        if not self._keys:
            raise KeysUnavailable
        return self._keys.get(kid)

    def _refresh(self) -> None:
        self._tried_at = self._monotonic()
        try:
            jwks = self._source()["keys"]
            self._keys = _usable(jwks)
            self._fetched_at = self._monotonic()
        except (OSError, KeyError, ValueError, TypeError) as error:
            log.warning("signing keys cannot be fetched: %r", error)
            if not self._keys:
                self._keys = _load()
                self._tried_at = self._monotonic() - REFETCH_AFTER_S + 1.0
            self._fetched_at = self._monotonic() if self._keys else float("-inf")
        else:
            _store([jwk for jwk in jwks if _parse(jwk) is not None])


def _usable(jwks: list[Any]) -> dict[str, Any]:
    """The keys by `kid`, without those that are not for us (RFC 7517, section 5). Raises ValueError when none is left:
    that set is not auth's."""
    keys = {jwk["kid"]: key for jwk in jwks if (key := _parse(jwk)) is not None}
    if not keys:
        raise ValueError("no key can be used")
    return keys


def _parse(jwk: Any) -> Any | None:
    """The RSA key, or None for what does not verify RS256."""
    if not isinstance(jwk, dict) or not isinstance(jwk.get("kid"), str) or jwk.get("kty") != "RSA":
        return None
    if jwk.get("use", "sig") != "sig" or jwk.get("alg", "RS256") != "RS256":
        return None
    try:
        return jwt.PyJWK(jwk, algorithm="RS256").key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None


def _load() -> dict[str, Any]:
    try:
        with reading() as session:
            return _usable([orjson.loads(row.jwk) for row in session.scalars(select(SigningKey))])
    except (SQLAlchemyError, ValueError):
        return {}


def _store(jwks: list[dict[str, Any]]) -> None:
    fresh = {str(jwk["kid"]): orjson.dumps(jwk, option=orjson.OPT_SORT_KEYS).decode() for jwk in jwks}
    try:
        with reading() as session:
            if {row.kid: row.jwk for row in session.scalars(select(SigningKey))} == fresh:
                return
        with transaction() as session:
            session.execute(delete(SigningKey))
            session.add_all(SigningKey(kid=kid, jwk=jwk) for kid, jwk in fresh.items())
    except SQLAlchemyError:
        log.warning("signing keys could not be stored", exc_info=True)
