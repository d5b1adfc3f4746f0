"""A small service with contracts of its own, to try the messaging mechanism on: it emits things and handles them.

A house has its own names, so that many can share a broker. `python -m tests.support.messaging.house KIND` runs its
worker or its relay, which fails in the way that HOUSE_FAULT names.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pika
import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from common import contracts, ids
from common.db import Id, ModelBase, init_database, reading, transaction, upgrade
from common.db.tables import Outbox, service_metadata
from common.messaging import Event, NotYet, Rejected, consumer, new_event, relay, topology
from common.messaging.dead_letters import letters_of
from common.messaging.handling import Handlers
from common.messaging.worker import Job, RelayAlone, Worker, run_relay, run_worker
from common.settings import Settings

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For a test whose promise does not depend on the database."""
ON_POSTGRES = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
SHORT_RETRIES = (("1s", 50), ("10s", 100), ("60s", 150), ("10m", 200))
THING = "thing.happened"
UNHEARD = "thing.unheard"
_SCHEMA = {
    "type": "object",
    "properties": {
        "n": {"type": "integer"},
        "needs": {"type": "integer", "description": "the thing that must have been handled before"},
        "mood": {"enum": ["good", "refused", "broken", "deadly"]},
    },
    "required": ["n"],
}


class Base(ModelBase, DeclarativeBase):
    """The house's own tables."""

    metadata = service_metadata()


class Handled(Base):
    """The effect of an event: as many rows as it took effect."""

    __tablename__ = "handled"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    event_id: Mapped[str]
    n: Mapped[int]
    at: Mapped[datetime]


class House:
    """The service: its contracts, application, database, worker."""

    def __init__(
        self, folder: Path, database_url: str, rabbitmq_url: str, name: str | None = None, **environment: str
    ) -> None:
        self.folder = folder
        self.name = name or f"house{ids.new_id()[-8:]}"
        self.queue = f"{self.name}.things"
        self.environment = {
            f"{self.name}_DATABASE_URL".upper(): database_url,
            "RABBITMQ_URL": rabbitmq_url,
            "JWKS_URL": "http://127.0.0.1:9/",
            "SRICARE_ENV": "development",
            **environment,
        }
        self.broken = folder / "broken"
        """While this file is there, things in a broken mood cannot be handled, and in a deadly one kill."""
        kind: type[Settings] = type("HouseSettings", (Settings,), {"SERVICE": self.name})
        settings = kind.from_env(self.environment)
        self.rabbitmq_url = rabbitmq_url
        self.app = Flask(self.name)
        self.app.extensions["sricare_settings"] = settings
        init_database(self.app, settings, Path(__file__).parent / "migrations")

    @property
    def handlers(self) -> Handlers:
        return {THING: self.on_thing}

    def write_contracts(self, folder: Path) -> None:
        events, queues = folder / "events" / self.name, folder / "queues"
        events.mkdir(parents=True)
        queues.mkdir()
        for name in (THING, UNHEARD):
            (events / f"{name}.json").write_bytes(orjson.dumps(_SCHEMA))
        (queues / f"{self.name}.json").write_bytes(orjson.dumps({self.queue: [THING]}))

    def migrate(self) -> None:
        with self.app.app_context():
            upgrade()

    def declare(self) -> None:
        """Have the queues there before a worker starts, for messages that come past the outbox."""
        with self.broker() as connection:
            topology.declare(connection)

    def on_thing(self, session: Session, event: Event) -> None:
        needs, mood = event.data.get("needs"), event.data.get("mood")
        if needs is not None and session.scalar(select(Handled.id).where(Handled.n == needs)) is None:
            raise NotYet(f"thing {needs}")
        if mood == "refused":
            raise Rejected("this thing is refused")
        if mood == "broken" and self.broken.exists():
            raise RuntimeError("the customer's name is Nimal")
        if mood == "deadly" and self.broken.exists():
            _die()
        session.add(Handled(id=ids.new_id(), event_id=event.id, n=event.data["n"], at=event.time))

    def emit(self, *things: int, type: str = THING, **data: Any) -> list[str]:
        """Emit things in one transaction; returns the events' ids."""
        rows = [new_event(type, subject="somebody", data={"n": n, **data}) for n in things]
        with self.app.app_context(), transaction() as session:
            session.add_all(rows)
        return [row.id for row in rows]

    def effects(self) -> list[int]:
        """The things that took effect, in their order of number, each as often as it did."""
        with self.app.app_context(), reading() as session:
            return list(session.scalars(select(Handled.n).order_by(Handled.n)))

    def outbox(self) -> dict[str, Outbox]:
        with self.app.app_context(), reading() as session:
            return {row.id: row for row in session.scalars(select(Outbox))}

    def unpublished(self) -> int:
        return sum(row.published_at is None for row in self.outbox().values())

    @contextmanager
    def worker(self, jobs: Sequence[Job] = (), handlers: Handlers | None = None) -> Iterator[Worker]:
        """A worker in this process."""
        worker = Worker(self.app, {self.queue: handlers or self.handlers}, jobs)
        worker.start()
        try:
            yield worker
        finally:
            left = worker.stop(60)
        assert not left

    @contextmanager
    def relay(self) -> Iterator[RelayAlone]:
        """A relay by itself in this process."""
        relay = RelayAlone(self.app)
        relay.start()
        try:
            yield relay
        finally:
            left = relay.stop(60)
        assert not left

    @contextmanager
    def worker_process(self, fault: str = "", kind: str = "worker") -> Iterator["subprocess.Popen[str]"]:
        """A worker, or a relay, as a process of its own, its log in the house's folder."""
        environment = os.environ | self.environment
        environment |= {"HOUSE_FOLDER": str(self.folder), "HOUSE_NAME": self.name, "HOUSE_FAULT": fault}
        with (self.folder / f"{kind}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.messaging.house", kind],
                env=environment, stdout=log, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    def dead(self) -> list[tuple[dict[str, Any], bytes]]:
        """Headers and bodies in the dead queue, which keeps them."""
        with self.broker() as connection, letters_of(connection, self.queue) as pile:
            return [(letter.headers, letter.body) for letter in pile]

    def waiting(self) -> int:
        """How many messages wait in the house's queue."""
        with self.broker() as connection:
            return connection.channel().queue_declare(self.queue, passive=True).method.message_count or 0

    def send(self, body: bytes, times: int = 1) -> None:
        """Put a message into the house's queue past the outbox."""
        with self.broker() as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            for _ in range(times):
                channel.basic_publish("", self.queue, body, mandatory=True)

    @contextmanager
    def broker(self) -> Iterator[pika.BlockingConnection]:
        connection = pika.BlockingConnection(pika.URLParameters(self.rabbitmq_url))
        try:
            yield connection
        finally:
            connection.close()


@contextmanager
def published(folder: Path) -> Iterator[None]:
    """Have `common.contracts` read another folder."""
    before = contracts.HERE
    contracts.HERE = folder
    _forget()
    try:
        yield
    finally:
        contracts.HERE = before
        _forget()


def _forget() -> None:
    for cached in (contracts._paths, contracts.schema_of, contracts._validator, contracts.queues):
        cached.cache_clear()


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _plant(fault: str) -> None:
    """Faults are planted here, from outside: the code under test has no place for them."""
    if fault == "committed":
        consumer._Hand.acknowledge = _die  # type: ignore[assignment,method-assign]
    if fault == "confirmed":
        relay.record = _die  # type: ignore[assignment]
    if fault == "thread":
        relay.Relay.run = lambda _relay: None  # type: ignore[assignment,method-assign]


def _more(name: str) -> dict[str, str]:
    """The settings of a test, as they come to its worker process."""
    wanted = ("RABBITMQ_TOPOLOGY", f"{name}_WORKER_METRICS_PORT".upper())
    return {variable: os.environ[variable] for variable in wanted if variable in os.environ}


def main() -> None:
    folder, name = Path(os.environ["HOUSE_FOLDER"]), os.environ["HOUSE_NAME"]
    database_url = os.environ[f"{name}_DATABASE_URL".upper()]
    topology.RETRY_DELAYS = SHORT_RETRIES
    consumer.SUSPECT_AFTER = 2
    with published(folder / "contracts"):
        house = House(folder, database_url, os.environ["RABBITMQ_URL"], name, **_more(name))
        _plant(os.environ["HOUSE_FAULT"])
        if sys.argv[1] == "relay":
            run_relay(house.app)
        else:
            run_worker(house.app, {house.queue: house.handlers})


if __name__ == "__main__":
    main()
