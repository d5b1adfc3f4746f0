"""A probe service: routes that write outbox rows, on a migrated database (auth's has all platform tables)."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Blueprint, Flask, Response
from flask.testing import FlaskClient
from pydantic import BaseModel, Field
from sqlalchemy import insert

from auth.config import Settings
from common import clock
from common.db import PageQuery, db, fetch_page, reading, transaction
from common.db.tables import Outbox
from common.errors import AppError, Conflict
from common.identity import identity, init_identity
from common.schemas import Body
from common.web import create_web_app, look_up_key, operation, reply, reply_page, work_id
from tests.support.services import service_fixtures, test_jwks

database_url, _app, _client = service_fixtures("auth")


class WorkIn(Body):
    name: str = Field(min_length=1, max_length=20)
    amount: int | None = Field(default=None, ge=1)
    fail: str | None = None


class WorkOut(BaseModel):
    id: str
    name: str

    @classmethod
    def of(cls, row: Outbox) -> "WorkOut":
        return cls(id=row.id, name=row.type)


class Overloaded(AppError):
    status, code, title = 503, "overloaded", "Not now"


class Probe:
    """What the probe's routes did, and gates that tests hold them at."""

    def __init__(self) -> None:
        self.calls = 0
        self.gate = threading.Event()
        self.gate.set()
        self.die_after_intent = False


def do_work(row_id: str, name: str, fail: str | None = None) -> Response:
    with transaction() as session:
        session.execute(
            insert(Outbox).values(id=row_id, type=name, body="{}", created_at=clock.now(), attempts=0)
        )
        if fail == "conflict":
            raise Conflict("already so")
        if fail == "overloaded":
            raise Overloaded(retry_after=3)
        if fail == "bug":
            raise RuntimeError("a bug with a secret password=hunter2")
        if fail == "model":
            WorkOut.model_validate({"id": row_id, "name": ["hunter2"]})
        return reply(WorkOut(id=row_id, name=name), 201)


def probe_routes(probe: Probe) -> Blueprint:
    routes = Blueprint("probe", __name__)

    @routes.post("/works")
    @operation(
        "Do work", body=WorkIn, returns={201: WorkOut}, roles=(), idempotent=True, raises=(Overloaded,)
    )
    def post_work(body: WorkIn) -> Response:
        probe.calls += 1
        return do_work(work_id(), body.name, body.fail)

    @routes.post("/optimistic/works")
    @operation(
        "Work before its key is looked up",
        body=WorkIn,
        returns={201: WorkOut},
        roles=(),
        idempotent=True,
        optimistic=True,
    )
    def post_optimistic_work(body: WorkIn) -> Response:
        probe.calls += 1
        return do_work(work_id(), body.name, body.fail)

    @routes.post("/optimistic/calls")
    @operation(
        "A call to the outside, then work", body=WorkIn, returns={201: WorkOut}, roles=(), optimistic=True
    )
    def post_optimistic_call(body: WorkIn) -> Response:
        look_up_key()
        probe.calls += 1
        return do_work(work_id(), body.name, body.fail)

    @routes.post("/steps")
    @operation("Work in two transactions", body=WorkIn, returns={201: WorkOut}, roles=(), idempotent=True)
    def post_steps(body: WorkIn) -> Response:
        return steps(body)

    @routes.post("/optimistic/steps")
    @operation(
        "Work in two transactions before its key is looked up",
        body=WorkIn,
        returns={201: WorkOut},
        roles=(),
        idempotent=True,
        optimistic=True,
    )
    def post_optimistic_steps(body: WorkIn) -> Response:
        return steps(body)

    def steps(body: WorkIn) -> Response:
        probe.calls += 1
        with reading() as session:
            known = session.get(Outbox, work_id()) is not None
        if not known:
            with transaction() as session:
                session.execute(
                    insert(Outbox).values(
                        id=work_id(), type=body.name, body="{}", created_at=clock.now(), attempts=0
                    )
                )
        probe.gate.wait(60)
        if probe.die_after_intent:
            raise SystemExit
        with transaction():
            return reply(WorkOut(id=work_id(), name=body.name), 201)

    @routes.get("/works")
    @operation("List work", query=PageQuery, returns={200: WorkOut}, roles=(), page=True)
    def list_works(query: PageQuery) -> Response:
        from sqlalchemy import select

        with reading() as session:
            return reply_page(fetch_page(session, select(Outbox), Outbox.id, query), WorkOut)

    @routes.get("/works/<id:row_id>")
    @operation("One", returns={200: WorkOut}, roles=("admin",))
    def get_work(row_id: str) -> Response:
        return reply({"id": row_id, "name": identity().user_id})

    return routes


@pytest.fixture
def probe() -> Probe:
    return Probe()


@pytest.fixture
def app(database_url: str, tmp_path: Path, probe: Probe) -> Iterator[Flask]:
    settings = Settings(
        database_url=database_url, rabbitmq_url="amqp://127.0.0.1:1/", keys_dir=tmp_path, lock_timeout_s=1.0
    )
    made = create_web_app(
        settings,
        "auth",
        prefix="/api/probe",
        routes=probe_routes(probe),
        errors=(Overloaded,),
        title="P",
        description="P",
    )
    init_identity(made, test_jwks)
    with made.app_context():
        yield made
        db.engine.dispose()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()
