from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from common import contracts
from tests.support.provisioning import Network, Shopper
from tests.support.services import emitted, service_fixtures

database_url, app, _ = service_fixtures("provisioning")


@pytest.fixture(autouse=True)
def _events_fit_their_contracts(request: pytest.FixtureRequest) -> Iterator[None]:
    """Of the tests that have an application: the others need no database, and run once."""
    if "app" not in request.fixturenames:
        yield
        return
    request.getfixturevalue("app")
    yield
    for event in emitted():
        assert contracts.violation(event.type, event.data) is None


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client of provisioning with its catalogue."""
    seeded = app.test_cli_runner().invoke(args=["seed-catalogue"])
    assert seeded.exit_code == 0, seeded.output
    return app.test_client()


@pytest.fixture
def shopper(client: FlaskClient) -> Shopper:
    return Shopper(client)


@pytest.fixture
def network(app: Flask) -> Network:
    return Network()
