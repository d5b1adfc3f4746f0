"""Houses without a broker."""

import pytest

from tests.support.messaging.fixtures import database_url, house

__all__ = ["database_url", "house"]


@pytest.fixture
def rabbitmq_url() -> str:
    return "amqp://guest:guest@127.0.0.1:9/"
