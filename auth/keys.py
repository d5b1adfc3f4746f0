"""The signing keys of access tokens, and the secret beside them.

RSA PEM files in one folder: all verify; the newest signs once it has been published for a while, so that every verifier
has it before it meets a token signed with it. In containers the private key may come from a setting instead (a secret
file), with the public keys that it replaced. The name of a key is its RFC 7638 thumbprint. A file lock lets several
processes start at once on an empty folder.
"""

import fcntl
import hashlib
import hmac
import itertools
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

from auth.config import Settings

_LOOK_EVERY_S = 5.0
_MARGIN_S = 60.0
"""For clocks that differ, and processes that have not looked yet."""


@dataclass(frozen=True)
class SigningKey:
    """One RSA key pair."""

    kid: str
    private: rsa.RSAPrivateKey
    jwk: dict[str, Any]
    made_at: float


class KeyRing:
    """The keys in a folder, reread when the folder changes, so that a rotation needs no restart.

    `lead_s` is how long a key is published before it signs.
    """

    def __init__(self, folder: Path, lead_s: float = 0.0) -> None:
        self._folder = folder
        self._lead_s = lead_s
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
        self.secret = (folder / "refresh.key").read_bytes()

    def signing_key(self) -> SigningKey:
        """The key that new tokens are signed with."""
        keys = self._current()
        published = [key for key in keys if key.made_at <= time.time() - self._lead_s]
        return published[-1] if published else keys[0]

    def jwks(self) -> dict[str, Any]:
        """The public keys as a JWKS document (RFC 7517), the newest first."""
        return {"keys": [key.jwk for key in reversed(self._current())]}

    def rotate(self, *, at_once: bool = False) -> str:
        """Add a signing key; the older ones go on verifying. Returns its kid.

        `at_once` lets it sign now (the old one is no longer trusted): for some seconds verifiers may not know it.
        """
        with self._exclusively():
            kid = _make_key(self._folder)
            if at_once:
                self._backdate(kid)
        self._forget_stamp()
        return kid

    def withdraw(self, kid: str) -> bool:
        """Take a key away whose private part is no longer a secret: tokens signed with it are refused as soon as
        verifiers look again. Whether it was there; raises ValueError for the last key."""
        with self._exclusively():
            path = self._folder / f"{kid}.pem"
            if not path.exists():
                return False
            if len(list(self._folder.glob("*.pem"))) == 1:
                raise ValueError("this is the only key")
            path.unlink()
        self._forget_stamp()
        return True

    def prune(self, token_life_s: float) -> list[str]:
        """Take away the keys that no living token can be signed with; returns their kids. Safe to repeat."""
        gone = []
        with self._exclusively():
            self._forget_stamp()
            keys = self._current()
            for key, successor in itertools.pairwise(keys):
                if successor.made_at + self._lead_s + token_life_s + _MARGIN_S < time.time():
                    (self._folder / f"{key.kid}.pem").unlink()
                    gone.append(key.kid)
        self._forget_stamp()
        return gone

    def _backdate(self, kid: str) -> None:
        """Have a key count as published, and as newer than all others."""
        then = time.time() - self._lead_s
        for path in self._folder.glob("*.pem"):
            age = then if path.stem == kid else min(path.stat().st_mtime, then - 1)
            os.utime(path, (age, age))

    def _forget_stamp(self) -> None:
        self._stamp, self._looked_at = (), float("-inf")

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


class GivenKeys:
    """One private key from the settings, and the public keys that still verify besides it."""

    def __init__(self, signing_key: str, retired: str, secret: str) -> None:
        private = serialization.load_pem_private_key(signing_key.encode(), password=None)
        if not isinstance(private, rsa.RSAPrivateKey):
            raise ValueError("the signing key is not an RSA key")
        self._key = SigningKey(_jwk(private.public_key())["kid"], private, _jwk(private.public_key()), 0.0)
        self._retired = [_jwk(_public(pem)) for pem in _pems(retired)]
        self.secret = secret.encode()

    def signing_key(self) -> SigningKey:
        """The key that new tokens are signed with."""
        return self._key

    def jwks(self) -> dict[str, Any]:
        """The public keys as a JWKS document (RFC 7517), the signing one first."""
        return {"keys": [self._key.jwk, *self._retired]}


Keys = KeyRing | GivenKeys


def open_keys(settings: Settings) -> Keys:
    """The keys that the settings name. Raises ValueError for what is not an RSA key in PEM."""
    if settings.signing_key is None:
        assert settings.keys_dir is not None
        ring = KeyRing(settings.keys_dir, settings.key_lead_s)
        if settings.secret is not None:
            ring.secret = settings.secret.encode()
        return ring
    secret = settings.secret
    if secret is None:
        assert settings.keys_dir is not None
        secret = KeyRing(settings.keys_dir).secret.hex()
    return GivenKeys(settings.signing_key, settings.retired_keys, secret)


def successor(secret: bytes, refresh_token: str) -> str:
    """The token that a refresh token is exchanged for: the same one whenever it is asked again, and not to be
    computed without the secret."""
    digest = hmac.new(secret, refresh_token.encode(), hashlib.sha256).digest()
    return jwt.utils.base64url_encode(digest).decode()


def _pems(text: str) -> list[str]:
    end = "-----END PUBLIC KEY-----"
    return [part + end for part in text.split(end)[:-1]]


def _public(pem: str) -> rsa.RSAPublicKey:
    found = serialization.load_pem_public_key(pem.strip().encode())
    if not isinstance(found, rsa.RSAPublicKey):
        raise ValueError("a retired key is not an RSA key")
    return found


def _make_key(folder: Path) -> str:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    kid = _jwk(private.public_key())["kid"]
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
    jwk = _jwk(private.public_key())
    return SigningKey(kid=jwk["kid"], private=private, jwk=jwk, made_at=path.stat().st_mtime)


def _jwk(public: rsa.RSAPublicKey) -> dict[str, Any]:
    numbers: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(public, as_dict=True)
    canonical = orjson.dumps({"e": numbers["e"], "kty": "RSA", "n": numbers["n"]})
    kid = jwt.utils.base64url_encode(hashlib.sha256(canonical).digest()).decode()
    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": numbers["n"], "e": numbers["e"]}
