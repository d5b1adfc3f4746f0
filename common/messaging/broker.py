"""How this service's threads reach RabbitMQ: connection parameters, what counts as "away", the pace of trying again."""

import logging
import random
import time

import pika
import pika.exceptions

log = logging.getLogger(__name__)

HEARTBEAT_S = 10
"""A broker that hangs is noticed within three of these; a handler may keep its thread busy for two."""

BROKER_AWAY = (pika.exceptions.AMQPError, OSError)
"""What pika raises when the connection or the channel is lost, refused or unusable: connect again."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0


class BrokerTrouble(OSError):
    """The broker answers, but not as it must (no confirmation in time, a consumer cancelled): connect again."""


def parameters(url: str, name: str) -> pika.URLParameters:
    """Parameters of one connection; `name` is what the broker's management shows."""
    found = pika.URLParameters(url)
    found.heartbeat = HEARTBEAT_S
    found.connection_attempts = 1
    found.socket_timeout = 3.0
    found.stack_timeout = 6.0
    found.client_properties = {"connection_name": name}
    return found


class Outage:
    """One thread's trouble with its broker: tells of it once, and sets the pace of trying again.

    The pauses double from 0.2 to 5 seconds, with jitter so that workers spread out.
    """

    def __init__(self, name: str) -> None:
        self.began_at = time.monotonic()
        """When the broker was last lost, or when we started (monotonic)."""
        self._name = name
        self._failures = 0

    def failed(self, error: Exception) -> float:
        """Another attempt failed; returns how many seconds to wait before the next."""
        self.began_at = time.monotonic()
        level = logging.DEBUG if self._failures else logging.WARNING
        log.log(level, "%s: no broker, trying again (%s: %s)", self._name, type(error).__name__, error)
        seconds = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return seconds * random.uniform(0.7, 1.3)  # noqa: S311 (jitter, not a secret)

    def over(self) -> None:
        """The broker does what it should; cheap to repeat."""
        if self._failures:
            log.info("%s: the broker is back", self._name)
            self._failures = 0
