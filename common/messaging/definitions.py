"""The topology as RabbitMQ definitions JSON, for brokers that are given it at start.

`python -m common.messaging.definitions` prints it.
"""

import sys
from typing import Any

import orjson

from common.messaging import topology

VHOST = "/"


def definitions() -> dict[str, Any]:
    """Exchanges, queues and bindings; users and their rights belong to the deployment."""
    return {
        "vhosts": [{"name": VHOST}],
        "exchanges": [
            {
                "name": exchange,
                "vhost": VHOST,
                "type": "topic",
                "durable": True,
                "auto_delete": False,
                "internal": False,
                "arguments": {},
            }
            for exchange in topology.exchanges()
        ],
        "queues": [
            {
                "name": queue.name,
                "vhost": VHOST,
                "durable": True,
                "auto_delete": False,
                "type": "quorum",
                "arguments": queue.arguments,
            }
            for queue in topology.queues()
        ],
        "bindings": [
            {
                "source": exchange,
                "vhost": VHOST,
                "destination": queue,
                "destination_type": "queue",
                "routing_key": routing_key,
                "arguments": {},
            }
            for exchange, queue, routing_key in topology.bindings()
        ],
    }


if __name__ == "__main__":
    sys.stdout.write(orjson.dumps(definitions(), option=orjson.OPT_INDENT_2).decode() + "\n")
