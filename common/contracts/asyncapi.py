"""The AsyncAPI 3 document of all events, made from the published contracts so that it cannot drift from them.

`python -m common.contracts.asyncapi` writes `asyncapi.json` beside this module; with `--check` it only says, by its
exit code, whether the file is current.
"""

import sys
from typing import Any

import orjson

from common import contracts

FILE = contracts.HERE / "asyncapi.json"
CONTENT_TYPE = "application/cloudevents+json"
_AMQP = "0.3.0"


def document() -> dict[str, Any]:
    """Channels for what is published and what is consumed, an operation of a service for each, one message per type."""
    types = contracts.event_types()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Sri-Care events",
            "version": "1.0.0",
            "description": (
                "What the services tell each other over RabbitMQ: one durable topic exchange per producer, the routing "
                "key is the event's type, the body a CloudEvents 1.0 document. Delivery is at least once and in any "
                "order. Changes only add."
            ),
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {event_type: _published(event_type) for event_type in types}
        | {queue: _consumed(queue) for queue in contracts.queues()},
        "operations": {f"publish.{event_type}": _publish(event_type) for event_type in types}
        | {f"consume.{queue}": _consume(queue) for queue in contracts.queues()},
        "components": {
            "messages": {event_type: _message(event_type) for event_type in types},
            "schemas": {"CloudEvent": _ENVELOPE} | {event_type: _data(event_type) for event_type in types},
        },
    }


def text() -> bytes:
    """The document as it stands in the file."""
    return orjson.dumps(document(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _published(event_type: str) -> dict[str, Any]:
    producer = contracts.producer_of(event_type)
    exchange = {
        "name": contracts.exchange_of(producer),
        "type": "topic",
        "durable": True,
        "autoDelete": False,
        "vhost": "/",
    }
    return {
        "address": event_type,
        "description": f"Routing key on {producer}'s exchange.",
        "messages": {event_type: _ref("components", "messages", event_type)},
        "tags": [{"name": producer}],
        "bindings": {"amqp": {"is": "routingKey", "exchange": exchange, "bindingVersion": _AMQP}},
    }


def _consumed(queue: str) -> dict[str, Any]:
    bound = {"name": queue, "durable": True, "exclusive": False, "autoDelete": False, "vhost": "/"}
    return {
        "address": queue,
        "description": f"Queue of {_consumer(queue)}; failures wait in {queue}.retry.*, what is dead in {queue}.dead.",
        "messages": {each: _ref("components", "messages", each) for each in _types_of(queue)},
        "tags": [{"name": _consumer(queue)}],
        "bindings": {"amqp": {"is": "queue", "queue": bound, "bindingVersion": _AMQP}},
    }


def _publish(event_type: str) -> dict[str, Any]:
    return {
        "action": "send",
        "summary": f"{contracts.producer_of(event_type)} tells of {event_type}",
        "channel": _ref("channels", event_type),
        "messages": [_ref("channels", event_type, "messages", event_type)],
        "tags": [{"name": contracts.producer_of(event_type)}],
        "bindings": {
            "amqp": {"deliveryMode": 2, "mandatory": True, "timestamp": True, "bindingVersion": _AMQP}
        },
    }


def _consume(queue: str) -> dict[str, Any]:
    return {
        "action": "receive",
        "summary": f"{_consumer(queue)} handles what arrives in {queue}",
        "channel": _ref("channels", queue),
        "messages": [_ref("channels", queue, "messages", each) for each in _types_of(queue)],
        "tags": [{"name": _consumer(queue)}],
        "bindings": {"amqp": {"ack": True, "bindingVersion": _AMQP}},
    }


def _message(event_type: str) -> dict[str, Any]:
    schema = contracts.schema_of(event_type)
    return {
        "name": event_type,
        "title": schema.get("title", event_type),
        "summary": schema.get("description", ""),
        "contentType": CONTENT_TYPE,
        "correlationId": {"location": "$message.payload#/correlationid"},
        "payload": {
            "allOf": [
                _ref("components", "schemas", "CloudEvent"),
                {
                    "type": "object",
                    "properties": {
                        "type": {"const": event_type},
                        "source": {"const": f"/{contracts.producer_of(event_type)}"},
                        "dataschema": {"const": f"{contracts.SCHEMA_BASE}{event_type}"},
                        "data": _ref("components", "schemas", event_type),
                    },
                },
            ]
        },
        "bindings": {"amqp": {"messageType": event_type, "bindingVersion": _AMQP}},
    }


def _data(event_type: str) -> Any:
    """The schema of an event's data; its references to itself follow it to its place in this document."""
    schema = {name: value for name, value in contracts.schema_of(event_type).items() if name != "$schema"}
    return _moved(schema, _ref("components", "schemas", event_type)["$ref"])


def _moved(node: Any, place: str) -> Any:
    if isinstance(node, list):
        return [_moved(each, place) for each in node]
    if not isinstance(node, dict):
        return node
    reference = node.get("$ref")
    moved = {name: _moved(value, place) for name, value in node.items()}
    if isinstance(reference, str) and reference.startswith("#"):
        moved["$ref"] = place + reference[1:]
    return moved


def _types_of(queue: str) -> list[str]:
    bound = contracts.queues()[queue]
    return contracts.event_types() if contracts.EVERYTHING in bound else list(bound)


def _consumer(queue: str) -> str:
    return queue.partition(".")[0]


def _ref(*path: str) -> dict[str, str]:
    return {"$ref": "#/" + "/".join(path)}


_ENVELOPE: dict[str, Any] = {
    "title": "CloudEvents 1.0 envelope",
    "type": "object",
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "format": "uuid", "description": "the same on every delivery"},
        "source": {"type": "string", "description": "the producing service"},
        "type": {"type": "string"},
        "subject": {"type": "string", "description": "id of the user whom the event is about"},
        "time": {"type": "string", "format": "date-time", "description": "when it happened, UTC"},
        "datacontenttype": {"const": "application/json"},
        "dataschema": {"type": "string", "format": "uri"},
        "correlationid": {"type": "string", "description": "X-Request-ID of the request that caused it"},
        "traceparent": {"type": "string", "description": "W3C Trace Context"},
        "data": {"type": "object"},
    },
    "required": [
        "specversion",
        "id",
        "source",
        "type",
        "subject",
        "time",
        "datacontenttype",
        "dataschema",
        "data",
    ],
}


def main(arguments: list[str]) -> int:
    if arguments == ["--check"]:
        current = FILE.exists() and FILE.read_bytes() == text()
        sys.stdout.write(f"{FILE.name} is {'current' if current else 'not current'}\n")
        return 0 if current else 1
    FILE.write_bytes(text())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
