"""The broker as these tests want it: without what tests of other services have left for notification."""

import pika
import pytest

from common.messaging.topology import declare, queues
from tests.support.rabbitmq import PrivateRabbit


@pytest.fixture
def broker_url(rabbit: PrivateRabbit) -> str:
    """Nothing waits for notification; also not for its next attempt."""
    connection = pika.BlockingConnection(pika.URLParameters(rabbit.url))
    declare(connection)
    channel = connection.channel()
    for queue in queues():
        if queue.name.startswith("notification.inbox"):
            channel.queue_purge(queue.name)
    connection.close()
    return rabbit.url
