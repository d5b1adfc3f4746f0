"""Passwords: Argon2id in a few threads of its own, and what may not be one.

The threads stand back (nice 10) so that other requests get the processor first, and only so many requests may wait
for them that some of the process's web threads are always free.
"""

import base64
import os
import re
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION

from auth.config import Settings
from auth.errors import WeakPassword
from common.errors import ServiceUnavailable

T = TypeVar("T")

MIN_LENGTH = 8
_COMMON = Path(__file__).parent / "data" / "common_passwords.txt"
_LEFT_FREE = 2
_NICE = 10


class Hashing:
    """Hashes and verifies; raises ServiceUnavailable when too many wait or the wait is too long."""

    def __init__(self, settings: Settings) -> None:
        self._hasher = PasswordHasher(
            time_cost=settings.hash_time_cost, memory_cost=settings.hash_memory_kib, parallelism=1
        )
        self._pool = ThreadPoolExecutor(settings.hash_slots, "argon2", _stand_back)
        self._room = threading.BoundedSemaphore(max(1, settings.web_threads - _LEFT_FREE))
        self._wait_s = settings.hash_wait_s
        self._costs = _costs(self._hasher)
        self._nobody = _nobodys(self._hasher)

    def hash(self, password: str) -> str:
        return self._run(lambda: self._hasher.hash(password))

    def verify(self, password: str, password_hash: str | None) -> bool:
        """Whether it is the password; takes as long when there is no such user (None)."""
        return self._run(lambda: self._verify(password, password_hash))

    def outdated(self, password_hash: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        same = password_hash.startswith(self._costs) and len(password_hash) == len(self._nobody)
        return not same

    def _verify(self, password: str, password_hash: str | None) -> bool:
        try:
            self._hasher.verify(password_hash or self._nobody, password)
        except (VerificationError, InvalidHashError):
            return False
        return password_hash is not None

    def _run(self, work: Callable[[], T]) -> T:
        if not self._room.acquire(blocking=False):
            raise ServiceUnavailable("Too many sign-ins at once", retry_after=1)
        future = self._pool.submit(work)
        try:
            return future.result(self._wait_s)
        except TimeoutError:
            future.cancel()
            raise ServiceUnavailable("Too many sign-ins at once", retry_after=2) from None
        finally:
            self._room.release()


def _costs(hasher: PasswordHasher) -> str:
    """What a hash of today's parameters begins with."""
    costs = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v={ARGON2_VERSION}${costs}$"


def _nobodys(hasher: PasswordHasher) -> str:
    """A hash that no password has, and that takes as long to find that out as any: made up, since making one takes as
    long as well."""
    salt, digest = (
        base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=")
        for size in (hasher.salt_len, hasher.hash_len)
    )
    return f"{_costs(hasher)}{salt}${digest}"


def _stand_back() -> None:
    os.setpriority(
        os.PRIO_PROCESS, threading.get_native_id(), _NICE
    )  # on Linux a thread has its own niceness


def refuse_weak(password: str, *personal: str | None, field: str = "password") -> None:
    """Raises WeakPassword for one that is common, or that is the user's phone, name or email address."""
    folded = password.casefold()
    if len(password) < MIN_LENGTH:
        reason = f"must have at least {MIN_LENGTH} characters"
    elif folded in _common() or len(set(folded)) < 3:
        reason = "is among the most common passwords"
    elif any(_same(folded, item.casefold()) for item in personal if item):
        reason = "must not be your phone number, name or email address"
    else:
        return
    raise WeakPassword(f"The password {reason}", errors=[{"field": field, "message": reason}])


def _same(password: str, item: str) -> bool:
    """Whether the password is nothing but the item: as it is, without blanks and signs, a phone in any form, or the
    local part of an address."""
    forms = {item, item.partition("@")[0]} if "@" in item else {item}
    if item.startswith("+94"):
        forms |= {f"0{item[3:]}", item[3:]}
    bare = _letters(password)
    return any(password == form or (bare and bare == _letters(form)) for form in forms)


def _letters(text: str) -> str:
    return re.sub(r"[\W_]", "", text)


@cache
def _common() -> frozenset[str]:
    lines = _COMMON.read_text(encoding="ascii").splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))
