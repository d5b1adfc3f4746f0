"""The CloudEvents 1.0 envelope: made when an event is emitted, parsed when one arrives."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from common import clock, context, ids, tracing
from common.contracts import SCHEMA_BASE, producer_of
from common.db.session import NewEvent

CONTENT_TYPE = "application/cloudevents+json"


class MalformedEvent(Exception):
    """The message is not a CloudEvents document of ours; no retry can help."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event as a handler sees it. `subject` is the user whom it is about; `time` is when it happened."""

    id: str
    type: str
    source: str
    subject: str
    time: datetime
    data: dict[str, Any]
    correlation_id: str
    traceparent: str
    actor_id: str = ""
    """The member of staff who acted for the user, if one did."""


def new_event(type: str, *, subject: str, data: dict[str, Any]) -> NewEvent:
    """An event to `session.add` beside what it tells of. `data` must fit the type's published schema."""
    event_id, at = ids.new_id(), clock.now()
    document = {
        "specversion": "1.0",
        "id": event_id,
        "source": f"/{producer_of(type)}",
        "type": type,
        "subject": subject,
        "time": clock.rfc3339(at),
        "datacontenttype": "application/json",
        "dataschema": f"{SCHEMA_BASE}{type}",
        "correlationid": context.correlation_id(),
        "traceparent": tracing.current_traceparent(),
        "data": data,
    }
    if context.actor_id.get():
        document["actorid"] = context.actor_id.get()
    return NewEvent(event_id, type, orjson.dumps(document).decode(), at)


def parse(body: bytes) -> Event:
    """The event in a message. Raises MalformedEvent."""
    try:
        document = orjson.loads(body)
        if document["specversion"] != "1.0" or not isinstance(document["data"], dict):
            raise MalformedEvent("not a CloudEvents 1.0 document with data")
        return Event(
            id=_text(document, "id"),
            type=_text(document, "type"),
            source=_text(document, "source"),
            subject=_text(document, "subject"),
            time=_instant(_text(document, "time")),
            data=document["data"],
            correlation_id=str(document.get("correlationid") or ""),
            traceparent=str(document.get("traceparent") or ""),
            actor_id=str(document.get("actorid") or "")[:36],
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise MalformedEvent(f"{type(error).__name__}: {error}") from None


def _text(document: dict[str, Any], name: str) -> str:
    value = document[name]
    if not isinstance(value, str) or not 0 < len(value) <= 200 or "\x00" in value:
        raise MalformedEvent(f"{name} is not a short text")
    return value


def _instant(value: str) -> datetime:
    at = datetime.fromisoformat(value)
    if at.tzinfo is None:
        raise MalformedEvent("time has no zone")
    return at
