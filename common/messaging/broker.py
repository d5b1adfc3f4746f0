"""How this service's threads reach RabbitMQ: connection parameters, what counts as "away", the pace of trying again."""

import random

import pika
import pika.exceptions

HEARTBEAT_S = 10
"""A broker that hangs is noticed within three of these; a handler may keep its thread busy for two."""

BROKER_AWAY = (pika.exceptions.AMQPError, OSError)
"""What pika raises when the connection or the channel is lost, refused or unusable: connect again."""


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


class Backoff:
    """Pauses between attempts: doubling from `first` to `most` seconds, with jitter so that workers spread out."""

    def __init__(self, first: float = 0.2, most: float = 5.0) -> None:
        self._first, self._most = first, most
        self._failures = 0

    def pause(self) -> float:
        """Seconds to wait before the next attempt."""
        seconds = min(self._most, self._first * 2 ** min(self._failures, 16))
        self._failures += 1
        return seconds * random.uniform(0.7, 1.3)  # noqa: S311 (jitter, not a secret)

    def reset(self) -> None:
        self._failures = 0
