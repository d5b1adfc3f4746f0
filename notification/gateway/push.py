"""Web push: RFC 8291 encryption, VAPID (RFC 8292) identification of the operator."""

import base64
import os
import struct
from datetime import timedelta
from functools import lru_cache
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from common import clock
from notification.gateway.base import PermanentFailure, Push, TemporaryFailure, one_line
from notification.gateway.outbound import AddressNotAllowed, Http, NoAnswer, NoConnection

TTL = timedelta(days=1)
GONE = "subscription_gone"
_TOKEN_LIFE_S = 6 * 3600
PAYLOAD_LIMIT = 3000
"""Push services take 4096 bytes with what encryption adds."""


class VapidKey:
    """The operator's key pair. `public` is what browsers subscribe with."""

    def __init__(self, private: str) -> None:
        """From the 32 bytes in base64url as other libraries write them. Raises ValueError."""
        number = int.from_bytes(decode(private), "big")
        self._key = ec.derive_private_key(number, ec.SECP256R1())
        self.public = base64.urlsafe_b64encode(_point(self._key.public_key())).decode().rstrip("=")
        self._token = lru_cache(maxsize=64)(self._sign)

    def authorization(self, endpoint: str, contact: str) -> str:
        """The header for a push service; the same token for an hour."""
        parts = urlsplit(endpoint)
        hour = int(clock.now().timestamp()) // 3600
        token = self._token(f"{parts.scheme}://{parts.netloc}", contact, hour)
        return f"vapid t={token}, k={self.public}"

    def _sign(self, audience: str, contact: str, hour: int) -> str:
        claims = {"aud": audience, "exp": hour * 3600 + _TOKEN_LIFE_S, "sub": contact}
        return jwt.encode(claims, self._key, algorithm="ES256")


class WebPush:
    """One call, one attempt; a browser that has unsubscribed is told by GONE."""

    name = "webpush"

    def __init__(self, http: Http, *, key: VapidKey, contact: str, timeout_s: float) -> None:
        self.lease = timedelta(seconds=4 * timeout_s)
        self._http, self._key, self._contact = http, key, contact

    def send(self, message: Push) -> str | None:
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Encoding": "aes128gcm",
            "TTL": str(int(TTL.total_seconds())),
            "Urgency": "normal",
            "Topic": message.id.replace("-", "")[:32],
            "Authorization": self._key.authorization(message.endpoint, self._contact),
        }
        try:
            answer = self._http.post(message.endpoint, headers, _encrypted(message))
        except AddressNotAllowed:
            raise PermanentFailure(GONE, "address not allowed") from None
        except (NoConnection, NoAnswer) as error:
            raise TemporaryFailure("no_answer", str(error)) from None
        if answer.status in (404, 410):
            raise PermanentFailure(GONE, str(answer.status))
        if answer.status == 413:
            raise PermanentFailure("too_long")
        if not 200 <= answer.status < 300:
            words = one_line(answer.body[:150].decode("utf-8", "replace"))
            raise TemporaryFailure("refused", f"{answer.status} {words}")
        return None

    def close(self) -> None:
        pass


def _encrypted(message: Push) -> bytes:
    try:
        return encrypt(
            message.payload,
            p256dh=decode(message.p256dh),
            auth=decode(message.auth),
            sender=ec.generate_private_key(ec.SECP256R1()),
            salt=os.urandom(16),
        )
    except ValueError as error:
        raise PermanentFailure(GONE, type(error).__name__) from None


def encrypt(
    payload: bytes, *, p256dh: bytes, auth: bytes, sender: ec.EllipticCurvePrivateKey, salt: bytes
) -> bytes:
    """RFC 8291: the body that only the browser can read. `sender` and `salt` are for one message only.

    Raises ValueError for a `p256dh` that is no point of the curve.
    """
    browser = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), p256dh)
    ours = _point(sender.public_key())
    shared = sender.exchange(ec.ECDH(), browser)
    secret = _derive(shared, auth, b"WebPush: info\x00" + p256dh + ours, 32)
    key = _derive(secret, salt, b"Content-Encoding: aes128gcm\x00", 16)
    nonce = _derive(secret, salt, b"Content-Encoding: nonce\x00", 12)
    header = salt + struct.pack("!IB", _RECORD_SIZE, len(ours)) + ours
    return header + AESGCM(key).encrypt(nonce, payload + b"\x02", None)


_RECORD_SIZE = 4096


def _derive(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def decode(text: str) -> bytes:
    """Base64url with or without padding. Raises ValueError."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def check_keys(p256dh: str, auth: str) -> bool:
    """Whether these can be the keys of a subscription: a point of P-256 and 16 bytes."""
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), decode(p256dh))
        return len(decode(auth)) == 16
    except ValueError:
        return False
