"""What auth's own secret is used for: keyed hashes of codes, and sealing of what must be read again."""

import hashlib
import hmac
import os
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

CODE_DIGITS = 6


class Vault:
    """Keys for each use, derived from one secret. Six digits under a plain hash could be found by trying all."""

    def __init__(self, secret: bytes) -> None:
        self._codes = _derive(secret, b"codes")
        self._sealing = AESGCM(_derive(secret, b"sealing"))

    def digest(self, subject: str, code: str) -> str:
        """The keyed hash of a code, tied to what it is for."""
        return hmac.new(self._codes, f"{subject}\n{code}".encode(), hashlib.sha256).hexdigest()

    def seal(self, content: bytes, purpose: str) -> bytes:
        """Encrypt for one purpose; `open` with another fails."""
        nonce = os.urandom(12)
        return nonce + self._sealing.encrypt(nonce, content, purpose.encode())

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """Raises ValueError for what was not sealed here for this purpose."""
        try:
            return self._sealing.decrypt(sealed[:12], sealed[12:], purpose.encode())
        except InvalidTag:
            raise ValueError("not sealed with this secret for this purpose") from None


def new_code() -> str:
    """Six random digits."""
    return f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}}"


def _derive(secret: bytes, use: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt=None, info=b"sri-care auth " + use).derive(secret)
