"""The public catalogue's first pages, kept for a short time: in Redis when there is one, else in this process.

What a change drops is gone at once for everybody with Redis, and for this process without; other processes then serve
the old catalogue for as long as the time to live. An order always reads the database.
"""

import logging
import time
from collections.abc import Callable
from typing import Protocol

import redis
from flask import current_app

from provisioning.config import Settings

log = logging.getLogger(__name__)

KEY = "sricare:provisioning:catalogue"
REDIS_AGAIN_AFTER_S = 5.0


class Cache(Protocol):
    """Answers by key. Never raises: what cannot be asked is not there."""

    def get(self, key: str) -> bytes | None: ...

    def put(self, key: str, answer: bytes) -> None: ...

    def drop(self) -> None: ...


def make_cache(settings: Settings) -> Cache:
    if settings.redis_url:
        return RedisCache(settings.redis_url, settings.catalogue_ttl_s)
    return ProcessCache(settings.catalogue_ttl_s)


def catalogue_cache() -> Cache:
    """The current application's."""
    found: Cache = current_app.extensions["provisioning_catalogue"]
    return found


def cached(key: str, make: Callable[[], bytes]) -> bytes:
    """The kept answer, or one made and kept now."""
    cache = catalogue_cache()
    answer = cache.get(key)
    if answer is None:
        answer = make()
        cache.put(key, answer)
    return answer


class ProcessCache:
    """A dictionary; what is over is forgotten when it is asked for, and there are few keys."""

    def __init__(self, ttl_s: float) -> None:
        self._ttl_s = ttl_s
        self._kept: dict[str, tuple[float, bytes]] = {}

    def get(self, key: str) -> bytes | None:
        until, answer = self._kept.get(key, (0.0, b""))
        return answer if time.monotonic() < until else None

    def put(self, key: str, answer: bytes) -> None:
        self._kept[key] = (time.monotonic() + self._ttl_s, answer)

    def drop(self) -> None:
        self._kept = {}


class RedisCache:
    """One hash that lives for the time from its first entry on. While Redis is away nothing is kept."""

    def __init__(self, url: str, ttl_s: float) -> None:
        self._redis = redis.Redis.from_url(url, socket_timeout=0.2, socket_connect_timeout=0.2)
        self._ttl_ms = int(ttl_s * 1000)
        self._away_until = 0.0

    def get(self, key: str) -> bytes | None:
        found = self._ask(lambda: self._redis.hget(KEY, key))
        return found if isinstance(found, bytes) else None

    def put(self, key: str, answer: bytes) -> None:
        def store() -> None:
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.hset(KEY, key, answer)
                pipe.pexpire(KEY, self._ttl_ms, nx=True)
                pipe.execute()

        self._ask(store)

    def drop(self) -> None:
        self._ask(lambda: self._redis.delete(KEY))

    def _ask(self, work: Callable[[], object]) -> object:
        if time.monotonic() < self._away_until:
            return None
        try:
            return work()
        except redis.RedisError as error:
            log.warning("the catalogue is not cached: Redis: %s", type(error).__name__)
            self._away_until = time.monotonic() + REDIS_AGAIN_AFTER_S
            return None
