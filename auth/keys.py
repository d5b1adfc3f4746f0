"""The signing keys of access tokens: RSA PEM files in one folder, the newest signs, all verify.

The name of a key is its RFC 7638 thumbprint. A file lock lets several processes start at once on an empty folder.
"""

import fcntl
import hashlib
import hmac
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

_LOOK_EVERY_S = 5.0


@dataclass(frozen=True)
class SigningKey:
    """One RSA key pair."""

    kid: str
    private: rsa.RSAPrivateKey
    jwk: dict[str, Any]
    made_at: float


class KeyRing:
    """The keys in a folder, reread when the folder changes, so that a rotation needs no restart."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys: list[SigningKey] = []
        self._stamp: tuple[str, ...] = ()
        self._looked_at = float("-inf")
        self._lock = threading.Lock()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._exclusively():
            if not list(folder.glob("*.pem")):
                _make_key(folder)
            if not (folder / "refresh.key").exists():
                _write_secret(folder / "refresh.key", secrets.token_bytes(32))
        self._refresh_key = (folder / "refresh.key").read_bytes()

    def signing_key(self) -> SigningKey:
        """The key that new tokens are signed with."""
        return self._current()[-1]

    def jwks(self) -> dict[str, Any]:
        """The public keys as a JWKS document (RFC 7517), the signing one first."""
        return {"keys": [key.jwk for key in reversed(self._current())]}

    def successor(self, refresh_token: str) -> str:
        """The token that a refresh token is exchanged for: the same one whenever it is asked again, and not to be
        computed without the key in this folder."""
        digest = hmac.new(self._refresh_key, refresh_token.encode(), hashlib.sha256).digest()
        return jwt.utils.base64url_encode(digest).decode()

    def rotate(self) -> str:
        """Add a new signing key; the older ones go on verifying. Returns its kid."""
        with self._exclusively():
            kid = _make_key(self._folder)
        self._looked_at = float("-inf")
        return kid

    def _current(self) -> list[SigningKey]:
        with self._lock:
            if time.monotonic() - self._looked_at >= _LOOK_EVERY_S:
                paths = sorted(
                    self._folder.glob("*.pem"), key=lambda path: (path.stat().st_mtime_ns, path.name)
                )
                stamp = tuple(path.name for path in paths)
                if stamp != self._stamp:
                    self._keys = [_load(path) for path in paths]
                    self._stamp = stamp
                self._looked_at = time.monotonic()
            return self._keys

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        with (self._folder / ".lock").open("w", encoding="ascii") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _make_key(folder: Path) -> str:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    kid = _jwk(private)["kid"]
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write_secret(folder / f"{kid}.pem", pem)
    return str(kid)


def _write_secret(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)


def _load(path: Path) -> SigningKey:
    private = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(private, rsa.RSAPrivateKey):
        raise ValueError(f"{path.name} is not an RSA key")
    jwk = _jwk(private)
    return SigningKey(kid=jwk["kid"], private=private, jwk=jwk, made_at=path.stat().st_mtime)


def _jwk(private: rsa.RSAPrivateKey) -> dict[str, Any]:
    numbers: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    canonical = orjson.dumps({"e": numbers["e"], "kty": "RSA", "n": numbers["n"]})
    kid = jwt.utils.base64url_encode(hashlib.sha256(canonical).digest()).decode()
    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": numbers["n"], "e": numbers["e"]}
