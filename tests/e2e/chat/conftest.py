from collections.abc import Callable, Iterator

import pytest

from tests.support.chat import ChatServer, Device, jwks_server
from tests.support.rabbitmq import PrivateRabbit
from tests.support.services import service_fixtures

database_url, app, client = service_fixtures("chat")


@pytest.fixture
def serve(database_url: str) -> Iterator[Callable[..., ChatServer]]:
    """Starts chat processes on the test's database."""
    started: list[ChatServer] = []
    with jwks_server() as jwks_url:

        def start(broker_url: str = "amqp://127.0.0.1:1/", **variables: str) -> ChatServer:
            server = ChatServer(database_url, jwks_url, broker_url, variables)
            started.append(server)
            return server.start()

        yield start
        for server in started:
            server.close()


@pytest.fixture
def device() -> Iterator[Callable[..., Device]]:
    """Connects real Socket.IO clients."""
    made: list[Device] = []

    def connect(*args: object, **options: object) -> Device:
        made.append(Device(*args, **options))
        return made[-1]

    yield connect
    for one in made:
        one.close()


@pytest.fixture
def own_rabbit() -> Iterator[PrivateRabbit]:
    """A node that the test stops and starts."""
    with PrivateRabbit() as node:
        yield node
