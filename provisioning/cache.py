"""The public catalogue's first pages, kept for a short time: in Redis when there is one, else in this process.

What a change drops is gone at once for everybody with Redis, and for this process without; other processes then serve
the old catalogue for as long as the time to live. An order always reads the database.
"""

import logging
import time
from collections.abc import Callable
from typing import Protocol

from flask import current_app

from provisioning.config import Settings

log = logging.getLogger(__name__)

KEY = "sricare:provisioning:catalogue"
GENERATION = f"{KEY}:generation"
REDIS_AGAIN_AFTER_S = 5.0


class Cache(Protocol):
    """Answers by key, of one generation: `drop` begins the next, so that an answer which was being made from the
    catalogue of before a change is never kept as one of after it. Never raises: what cannot be asked is not there."""

    def generation(self) -> str: ...

    def get(self, generation: str, key: str) -> bytes | None: ...

    def put(self, generation: str, key: str, answer: bytes) -> None: ...

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
    generation = cache.generation()
    answer = cache.get(generation, key)
    if answer is None:
        answer = make()
        cache.put(generation, key, answer)
    return answer


class ProcessCache:
    """A dictionary; what is over is forgotten when it is asked for, and there are few keys."""

    def __init__(self, ttl_s: float) -> None:
        self._ttl_s = ttl_s
        self._generation = 0
        self._kept: dict[tuple[str, str], tuple[float, bytes]] = {}

    def generation(self) -> str:
        return str(self._generation)

    def get(self, generation: str, key: str) -> bytes | None:
        until, answer = self._kept.get((generation, key), (0.0, b""))
        return answer if time.monotonic() < until else None

    def put(self, generation: str, key: str, answer: bytes) -> None:
        self._kept[generation, key] = (time.monotonic() + self._ttl_s, answer)

    def drop(self) -> None:
        self._generation += 1
        self._kept = {}


class RedisCache:
    """One hash per generation, which lives for the time from its first entry on. While Redis is away nothing is
    kept."""

    def __init__(self, url: str, ttl_s: float) -> None:
        import redis  # a seventh of the time of a start without it

        self._failure = redis.RedisError
        self._redis = redis.Redis.from_url(url, socket_timeout=0.2, socket_connect_timeout=0.2)
        self._ttl_ms = int(ttl_s * 1000)
        self._away_until = 0.0

    def generation(self) -> str:
        found = self._ask(lambda: self._redis.get(GENERATION))
        return found.decode() if isinstance(found, bytes) else "0"

    def get(self, generation: str, key: str) -> bytes | None:
        found = self._ask(lambda: self._redis.hget(f"{KEY}:{generation}", key))
        return found if isinstance(found, bytes) else None

    def put(self, generation: str, key: str, answer: bytes) -> None:
        def store() -> None:
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.hset(f"{KEY}:{generation}", key, answer)
                pipe.pexpire(f"{KEY}:{generation}", self._ttl_ms, nx=True)
                pipe.execute()

        self._ask(store)

    def drop(self) -> None:
        self._ask(lambda: self._redis.incr(GENERATION))

    def _ask(self, work: Callable[[], object]) -> object:
        if time.monotonic() < self._away_until:
            return None
        try:
            return work()
        except self._failure as error:
            log.warning("the catalogue is not cached: Redis: %s", type(error).__name__)
            self._away_until = time.monotonic() + REDIS_AGAIN_AFTER_S
            return None
