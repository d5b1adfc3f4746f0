"""Limits on attempts, counted for all processes together: in Redis when there is one, else in auth's database.

When Redis goes away the database counts on, from nothing: a little mercy once, rather than nobody being let in.
Subjects (numbers, addresses) are hashed before they are kept.
"""

import hashlib
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from operator import itemgetter
from typing import Any, Generic, NamedTuple, TypeVar

import redis
from sqlalchemy import Table, bindparam, delete, func, insert, select, update

from auth.config import Settings
from auth.errors import TooManyAttempts
from auth.models import Attempts
from common import clock
from common.db import (
    Runner,
    Statement,
    UtcDateTime,
    reading,
    rerun_lost_race,
    snapshot,
    transaction,
    writing,
)

T = TypeVar("T")

log = logging.getLogger(__name__)

_REDIS_AGAIN_AFTER_S = 5.0
_PRUNED_AT_ONCE = 1000


@dataclass(frozen=True)
class Limit:
    """So many attempts are free; each one from the last free one on makes the next wait, longer each time.

    With `first_s` 0 nobody waits but until the count is forgotten: a plain number per period. `forget_s` runs from
    the last attempt that was let through, or, for a plain number, from the first. `weight` is what an attempt counts.
    """

    name: str
    free: int
    forget_s: int
    first_s: int = 0
    longest_s: int = 0
    weight: int = 1

    def delay_s(self, count: int) -> int:
        """How long the next attempt waits after the `count`th."""
        if count < self.free:
            return 0
        if not self.first_s:
            return self.forget_s
        return int(min(self.longest_s, self.first_s * 2 ** min(count - self.free, 30)))

    def claim(self, subject: str) -> "Claim":
        """This limit of a number, address or user."""
        return Claim(self, f"{self.name}:{hashlib.sha256(subject.encode()).hexdigest()[:40]}")


class Claim(NamedTuple):
    """A limit, and the key under which somebody's attempts are counted for it."""

    limit: Limit
    key: str


@dataclass(frozen=True)
class Limits:
    """Those of signing in, made once: `per_minute` and `ip_failures` of an address, `tries` at an account by their
    name."""

    per_minute: Limit
    ip_failures: Limit
    tries: Mapping[str, Limit]

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        first_s, longest_s = settings.login_first_delay_s, settings.login_longest_delay_s
        failures, forget_s = settings.per_ip("ip_free_failures"), settings.ip_forget_s
        return cls(
            per_minute=Limit("ip", free=settings.per_ip("ip_per_minute"), forget_s=60),
            ip_failures=Limit("ip-failures", failures, forget_s, first_s, longest_s),
            tries={
                name: Limit(name, settings.login_free_attempts, settings.login_forget_s, first_s, longest_s)
                for name in ("login", "account", "password", "mfa")
            },
        )


_TABLE = Attempts.__table__
assert isinstance(_TABLE, Table)
_COUNTED = ("count", "blocked_until", "expires_at")
_INSERT = Statement(insert(_TABLE).values(key=bindparam("taken_key")), *_COUNTED)
_UPDATE = Statement(update(_TABLE).where(_TABLE.c.key == bindparam("taken_key")), *_COUNTED)
_SETTLE = Statement(
    update(_TABLE)
    .where(_TABLE.c.key == bindparam("taken_key"), _TABLE.c.count > 0)
    .values(
        count=_TABLE.c.count - 1,
        expires_at=func.coalesce(bindparam("forgotten_at", type_=UtcDateTime), _TABLE.c.expires_at),
    )
)
"""Built once: they run at every sign-in."""


@cache
def _locked(rows: int) -> Statement:
    """So many rows, held in the order of their keys. An expanding list would be written out anew each time."""
    keys = [bindparam(f"key_{n}", type_=_TABLE.c.key.type) for n in range(rows)]
    columns = (_TABLE.c.key, _TABLE.c.count.label("counted"), _TABLE.c.blocked_until, _TABLE.c.expires_at)
    query = select(*columns).where(_TABLE.c.key.in_(keys)).order_by(_TABLE.c.key)
    return Statement(query.with_for_update())


@dataclass(frozen=True)
class Attempt(Generic[T]):
    """What is tried at `target`, under `claims`, and under `silent`, which may refuse without the client's knowing."""

    target: T
    claims: Sequence[Claim]
    silent: Claim | None = None

    def every(self) -> Sequence[Claim]:
        """In the order in which they are asked."""
        return self.claims if self.silent is None else [*self.claims, self.silent]

    def admitted(self, wait_s: float, counts: list[int]) -> list[int]:
        """The counts, 0 for a silent claim that refused. Raises TooManyAttempts for another that did."""
        if len(counts) < len(self.claims):
            raise TooManyAttempts(retry_after=math.ceil(wait_s))
        refused = self.silent is not None and len(counts) == len(self.claims)
        return [*counts, 0] if refused else counts


@dataclass(frozen=True)
class Settlement:
    """Keys under which all attempts are to be forgotten, and others that get one back."""

    clear: Sequence[str]
    give_back: Sequence[str]

    def write(self, connection: Runner) -> None:
        """In the table `attempts`; what is forgotten is deleted later, by `prune`."""
        now = clock.now()
        rows = [(key, now) for key in self.clear] + [(key, None) for key in self.give_back]
        rows.sort(key=itemgetter(0))  # as `_locked` does
        _SETTLE.run_many(connection, [{"taken_key": key, "forgotten_at": at} for key, at in rows])


class Limiter:
    """What routes ask before they try something. Each attempt is counted before it is made, so that any number of
    them at once get no more tries than one after the other."""

    def __init__(self, settings: Settings) -> None:
        self._redis = RedisStore(settings.redis_url) if settings.redis_url else None
        self._redis_again_at = 0.0

    def admit(self, *claims: Claim, silent: Claim | None = None) -> list[int]:
        """Count an attempt. Raises TooManyAttempts. Returns the count under each claim, and last that under `silent`:
        0 when it refuses, which is for the caller to act on and to tell nobody."""
        attempt = Attempt(None, claims, silent)
        taken = self._in_redis(lambda store: store.take(attempt.every()))
        return attempt.admitted(*(taken or _take(lambda _connection: attempt)[1]))

    def admit_to(self, find: Callable[[Runner], Attempt[T]]) -> tuple[T, list[int]]:
        """As `admit`, of an attempt at what `find` reads: in the same transaction, when that is where attempts are
        counted. Returns the attempt's target too."""
        taken = None
        if self._redis is not None:
            with snapshot() as connection:
                attempt = find(connection)
            taken = self._in_redis(lambda store: store.take(attempt.every()))
        if taken is None:
            attempt, taken = _take(find)
        return attempt.target, attempt.admitted(*taken)

    def settle(self, *, clear: Sequence[Claim] = (), give_back: Sequence[Claim] = ()) -> None:
        """After a success: forget all attempts under some claims; others get the last one back."""
        settlement = self.settlement(clear=clear, give_back=give_back)
        if settlement is not None:
            with writing() as connection:
                settlement.write(connection)

    def settlement(
        self, *, clear: Sequence[Claim] = (), give_back: Sequence[Claim] = ()
    ) -> "Settlement | None":
        """As `settle`, but for a transaction of the caller's to write; None when Redis has done it already."""
        rest = Settlement([claim.key for claim in clear], [claim.key for claim in give_back])
        return None if self._in_redis(lambda store: store.settle(rest)) else rest

    def _in_redis(self, work: Callable[["RedisStore"], T]) -> T | None:
        if self._redis is None or time.monotonic() < self._redis_again_at:
            return None
        try:
            return work(self._redis)
        except redis.RedisError as error:
            log.warning("limits are counted in the database: Redis fails (%s)", type(error).__name__)
            self._redis_again_at = time.monotonic() + _REDIS_AGAIN_AFTER_S
            return None


@rerun_lost_race
def _take(find: Callable[[Runner], Attempt[T]]) -> tuple[Attempt[T], tuple[float, list[int]]]:
    """Count an attempt in a transaction of its own. Returns it, the seconds to wait (0: let through), and the count
    under each claim that did not refuse."""
    with writing() as connection:
        attempt = find(connection)
        return attempt, _count(connection, attempt.every())


def _count(connection: Runner, claims: Sequence[Claim]) -> tuple[float, list[int]]:
    """Count an attempt under each key in turn, up to the first that refuses."""
    now, wait_s, counts = clock.now(), 0.0, list[int]()
    fresh: list[dict[str, Any]] = []
    old: list[dict[str, Any]] = []
    keys = {f"key_{n}": key for n, (_, key) in enumerate(claims)}
    known = {row.key: row for row in _locked(len(claims)).all(connection, keys)}
    for limit, key in claims:
        row = known.get(key)
        alive = row if row is not None and row.expires_at > now else None
        if alive is not None and alive.blocked_until is not None and alive.blocked_until > now:
            wait_s = (alive.blocked_until - now).total_seconds()
            break
        count = limit.weight if alive is None else alive.counted + limit.weight
        counts.append(count)
        forget_at = now + timedelta(seconds=limit.forget_s)
        if alive is not None and not limit.first_s:
            forget_at = alive.expires_at
        values = {
            "count": count,
            "blocked_until": _blocked_until(limit, count, now, forget_at),
            "expires_at": forget_at,
        }
        (fresh if row is None else old).append({"taken_key": key, **values})
    if fresh:
        _INSERT.run_many(connection, fresh)
    if old:
        _UPDATE.run_many(connection, old)
    return wait_s, counts


def _blocked_until(limit: Limit, count: int, now: datetime, forget_at: datetime) -> datetime | None:
    delay_s = limit.delay_s(count)
    if not delay_s:
        return None
    return now + timedelta(seconds=delay_s) if limit.first_s else forget_at


def prune() -> bool:
    """Delete a batch of forgotten attempts; whether there may be more. All are looked through, while nobody waits."""
    now = clock.now()
    with reading() as session:
        keys = session.scalars(
            select(Attempts.key).where(Attempts.expires_at < now).limit(_PRUNED_AT_ONCE)
        ).all()
    if keys:
        with transaction() as session:  # one that was counted meanwhile stays
            session.execute(delete(Attempts).where(Attempts.key.in_(keys), Attempts.expires_at < now))
    return len(keys) == _PRUNED_AT_ONCE


class RedisStore:
    """Counts in Redis. A delayed attempt must win the key `…:blocked` (SET NX): one of many at once does."""

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(url, socket_timeout=0.5, socket_connect_timeout=0.5)

    def take(self, claims: Sequence[Claim]) -> tuple[float, list[int]]:
        """As `_count`."""
        counts: list[int] = []
        for limit, key in claims:
            name, blocked = f"auth:{key}", f"auth:{key}:blocked"
            left_ms = int(self._redis.pttl(blocked))
            if left_ms > 0:
                return left_ms / 1000, counts
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.set(name, 0, ex=limit.forget_s, nx=True)
                pipe.incrby(name, limit.weight)
                if limit.first_s:
                    pipe.expire(name, limit.forget_s)
                pipe.pttl(name)
                answers = pipe.execute()
            count, life_ms = int(answers[1]), answers[-1]
            delay_s = limit.delay_s(count)
            delay_ms = delay_s * 1000 if limit.first_s else life_ms
            if delay_s and not self._redis.set(blocked, 1, px=max(1, delay_ms), nx=True):
                return max(1.0, int(self._redis.pttl(blocked)) / 1000), counts
            counts.append(count)
        return 0.0, counts

    def settle(self, settlement: Settlement) -> bool:
        """True, or an error of Redis."""
        for key in settlement.give_back:
            if int(self._redis.decr(f"auth:{key}")) < 0:
                self._redis.delete(f"auth:{key}")
        if settlement.clear:
            ends = ("", ":blocked")
            self._redis.delete(*(f"auth:{key}{end}" for key in settlement.clear for end in ends))
        return True
