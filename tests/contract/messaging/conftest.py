"""Houses on the run's real broker."""

import pytest

from tests.support.messaging.fixtures import database_url, house
from tests.support.rabbitmq import PrivateRabbit

__all__ = ["database_url", "house"]


@pytest.fixture
def rabbitmq_url(rabbit: PrivateRabbit) -> str:
    return rabbit.url
