"""One service in a test: its application on a migrated database of its own, on SQLite and on Postgres.

Unit tests of a service put into their `conftest.py`:

    from tests.support.services import service_fixtures
    database_url, app, client = service_fixtures("billing")

and then every test that asks for `app` or `client` runs once per database.
"""

import importlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from common import clock, ids
from common.db import db, reading, transaction, upgrade
from common.db.tables import Outbox
from common.identity import AUDIENCE, ISSUER, init_identity
from common.messaging import Event
from common.messaging.envelope import parse
from tests.support.databases import Pristine
from tests.support.postgres import PostgresServer

TEST_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
TEST_KID = "test-key"


def test_jwks() -> dict[str, Any]:
    """The JWKS document of the tests' own signing key."""
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(TEST_KEY.public_key(), as_dict=True)
    return {"keys": [{**jwk, "kid": TEST_KID, "use": "sig", "alg": "RS256"}]}


test_jwks.__test__ = False  # type: ignore[attr-defined]


def token(user_id: str | None = None, *roles: str, session_id: str | None = None, **claims: Any) -> str:
    """An access token as auth would issue it, by default of a new customer."""
    now = int(clock.now().timestamp())
    payload = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": user_id or ids.new_id(),
        "sid": session_id or ids.new_id(),
        "roles": list(roles or ("customer",)),
        "iat": now,
        "exp": now + 900,
        **claims,
    }
    return jwt.encode(payload, TEST_KEY, algorithm="RS256", headers={"kid": TEST_KID})


def bearer(user_id: str | None = None, *roles: str, key: str | None = None) -> dict[str, str]:
    """Headers of a signed-in caller, with an Idempotency-Key when one is given."""
    headers = {"Authorization": f"Bearer {token(user_id, *roles)}"}
    return headers | {"Idempotency-Key": key} if key else headers


def an_event(event_type: str, subject: str, data: dict[str, Any], **fields: Any) -> Event:
    """An event as a handler would get it."""
    return Event(
        id=fields.get("id") or ids.new_id(),
        type=event_type,
        source=fields.get("source", "/test"),
        subject=subject,
        time=fields.get("time") or clock.now(),
        data=data,
        correlation_id=fields.get("correlation_id", "test"),
        traceparent="",
    )


def emitted(event_type: str | None = None) -> list[Event]:
    """The events in the current application's outbox, oldest first."""
    with reading() as session:
        rows = session.scalars(select(Outbox).order_by(Outbox.id)).all()
    found = [parse(row.body.encode()) for row in rows]
    return [event for event in found if event_type in (None, event.type)]


def make_app(service: str, database_url: str, folder: Path, **settings: Any) -> Flask:
    """The application of a service on a database URL; tokens of `token()` are valid for it."""
    config = importlib.import_module(f"{service}.config")
    values = {
        "database_url": database_url,
        "rabbitmq_url": "amqp://127.0.0.1:1/",
        "jwks_url": "http://127.0.0.1:1/jwks.json",
        "environment": "development",
        # As long as a busy machine needs: a test that is about the refusal sets a short one.
        "lock_timeout_s": 60,
        "pool_timeout_s": 60,
    }
    if "keys_dir" in config.Settings.model_fields:
        values["keys_dir"] = str(folder / "keys")
    app: Flask = importlib.import_module(f"{service}.app").create_app(
        config.Settings.model_validate(values | settings)
    )
    if service != "auth":
        init_identity(app, test_jwks)
    return app


def service_fixtures(service: str, **settings: Any) -> tuple[Any, Any, Any]:
    """Fixtures `database_url` (SQLite and Postgres), `app` (with its context pushed) and `client` of a service."""

    @pytest.fixture(params=["sqlite", "postgres"])
    def database_url(
        request: pytest.FixtureRequest, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[str]:
        if request.param == "sqlite":
            yield f"sqlite:///{_sqlite_copy(service, tmp_path, tmp_path_factory)}"
        else:
            databases = _on_postgres(service, request.getfixturevalue("postgres"), tmp_path_factory)
            url = databases.take()
            yield url
            databases.give_back(url)

    @pytest.fixture
    def app(database_url: str, tmp_path: Path) -> Iterator[Flask]:
        made = make_app(service, database_url, tmp_path, **settings)
        with made.app_context():
            yield made
            db.engine.dispose()

    @pytest.fixture
    def client(app: Flask) -> FlaskClient:
        return app.test_client()

    return database_url, app, client


_templates: dict[str, Path] = {}
_pristine: dict[str, Pristine] = {}


def _migrate(service: str, url: str, folder: Path) -> None:
    app = make_app(service, url, folder)
    with app.app_context():
        upgrade()
        db.engine.dispose()


def _sqlite_copy(service: str, target: Path, factory: pytest.TempPathFactory) -> Path:
    if service not in _templates:
        folder = factory.mktemp(f"{service}-template")
        _migrate(service, f"sqlite:///{folder / 'template.sqlite3'}", folder)
        _templates[service] = folder / "template.sqlite3"
    copy = target / f"{service}.sqlite3"
    shutil.copyfile(_templates[service], copy)
    return copy


def _on_postgres(service: str, server: PostgresServer, factory: pytest.TempPathFactory) -> Pristine:
    if service not in _pristine:
        name = f"template_{service}"
        _migrate(service, server.create_database(name), factory.mktemp(f"{service}-template"))
        _pristine[service] = Pristine(server, name)
    return _pristine[service]


def postgres_copy(service: str, server: PostgresServer, factory: pytest.TempPathFactory) -> str:
    """The URL of a migrated database of a service's own, for as long as the server runs."""
    return _on_postgres(service, server, factory).take()


def deliver(handlers: Mapping[str, Callable[[Session, Event], None]], event: Event) -> None:
    """Hand an event to its handler in a transaction of its own, as the worker does."""
    with transaction() as session:
        handlers[event.type](session, event)
