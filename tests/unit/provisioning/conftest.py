from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from common import contracts
from dev.element import ElementServer
from provisioning.gateway import HttpElements
from provisioning.models import Element
from tests.support.provisioning import Network, Shopper, element_server
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


@pytest.fixture
def server() -> Iterator[ElementServer]:
    with element_server() as serving:
        yield serving


@pytest.fixture
def elements(server: ElementServer) -> Iterator[HttpElements]:
    """The http driver, with all the patience that a slow machine needs."""
    driver = HttpElements({kind: f"{server.url}/{kind.value}" for kind in Element}, token=None, timeout_s=20)
    yield driver
    driver.close()


@pytest.fixture
def impatient(server: ElementServer) -> Iterator[HttpElements]:
    """The http driver for answers that are to come too late."""
    driver = HttpElements({kind: f"{server.url}/{kind.value}" for kind in Element}, token=None, timeout_s=1)
    yield driver
    driver.close()
