"""What a message that failed carries on its way through the retry queues to the dead queue.

The count and the story are our own headers: the broker's `x-death` does not survive a message that is published anew.
"""

from typing import Any, NamedTuple

from pika.spec import BasicProperties

from common import clock

RETRIES = "sricare-retries"
REASON = "sricare-reason"
ERROR = "sricare-error"
EVENT_TYPE = "sricare-type"
QUEUE = "sricare-queue"
FIRST_FAILED_AT = "sricare-first-failed-at"
DEAD_AT = "sricare-dead-at"
REPLAYS = "sricare-replays"

_REASON_LENGTH = 300


class Story(NamedTuple):
    """Where and why a message failed."""

    queue: str
    event_type: str
    error: str
    reason: str


def retries(properties: BasicProperties) -> int:
    """How often the message has been put off so far."""
    found = (properties.headers or {}).get(RETRIES)
    return found if isinstance(found, int) and found >= 0 else 0


def put_off(properties: BasicProperties, story: Story) -> BasicProperties:
    """The properties for the next retry queue."""
    headers = _told(properties, story) | {RETRIES: retries(properties) + 1}
    return _anew(properties, headers)


def buried(properties: BasicProperties, story: Story) -> BasicProperties:
    """The properties for the dead queue."""
    headers = _told(properties, story)
    headers |= {RETRIES: retries(properties), DEAD_AT: clock.rfc3339(clock.now())}
    return _anew(properties, headers)


def replayed(properties: BasicProperties) -> BasicProperties:
    """The properties for the way back from the dead queue: all retries are there again."""
    replays = (properties.headers or {}).get(REPLAYS)
    return _anew(properties, {REPLAYS: replays + 1 if isinstance(replays, int) else 1})


def _told(properties: BasicProperties, story: Story) -> dict[str, Any]:
    before = properties.headers or {}
    headers: dict[str, Any] = {
        QUEUE: story.queue,
        EVENT_TYPE: story.event_type or before.get(EVENT_TYPE) or properties.type or "",
        ERROR: story.error,
        REASON: story.reason[:_REASON_LENGTH],
        FIRST_FAILED_AT: before.get(FIRST_FAILED_AT) or clock.rfc3339(clock.now()),
    }
    if REPLAYS in before:
        headers[REPLAYS] = before[REPLAYS]
    return headers


def _anew(properties: BasicProperties, headers: dict[str, Any]) -> BasicProperties:
    return BasicProperties(
        content_type=properties.content_type,
        delivery_mode=2,
        message_id=properties.message_id,
        type=properties.type,
        app_id=properties.app_id,
        timestamp=properties.timestamp,
        headers=headers,
    )
