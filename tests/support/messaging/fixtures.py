"""A house on either database, its contracts published for the length of a test; who imports these says which broker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from common.db import db
from common.messaging import topology
from tests.support.messaging.house import SHORT_RETRIES, House, published
from tests.support.postgres import PostgresServer


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'house.sqlite3'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.create_database()


@pytest.fixture
def house(
    tmp_path: Path, database_url: str, rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[House]:
    monkeypatch.setattr(topology, "RETRY_DELAYS", SHORT_RETRIES)
    house = House(tmp_path, database_url, rabbitmq_url)
    house.write_contracts(tmp_path / "contracts")
    with published(tmp_path / "contracts"):
        house.migrate()
        yield house
    with house.app.app_context():
        db.engine.dispose()
