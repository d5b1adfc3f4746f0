"""Events from outbox to committed inbox against raw confirmed publishing and consuming on the same broker.

Each side has two processes, one that publishes and one that consumes, as a producing and a consuming service have;
the raw pair knows no database and looks into no message.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pika
from pika.spec import BasicProperties
from sqlalchemy import func, insert, select

from common import contracts
from common.db import reading, transaction, wake
from common.db.tables import Inbox, Outbox
from common.messaging import Event, new_event, topology
from common.messaging.envelope import CONTENT_TYPE
from common.messaging.publisher import Message, Publisher
from common.messaging.relay import BATCH
from common.messaging.worker import run_worker
from tests.bench.figures import Figure, percentile
from tests.support.eventually import eventually
from tests.support.messaging.house import THING, House, published
from tests.support.rabbitmq import PrivateRabbit

EVENTS = 10_000
ROUNDS = 5
"""The best of each side counts: what disturbs a machine only ever makes a round slower."""
LATENCY_EVENTS = 300
PAUSE_S = 0.02
"""Between two events when latency is measured: 50 a second."""


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder, PrivateRabbit() as rabbit:
        pair = Pair(Path(folder), rabbit.url)
        with published(pair.contracts):
            pair.prepare()
            with pair.workers():
                rates = [(raw_rate(rabbit.url), pair.rate(EVENTS)) for _ in range(ROUNDS)]
                latencies = pair.latencies(LATENCY_EVENTS)
    raw, whole = (max(side) for side in zip(*rates, strict=True))
    return [
        Figure("raw confirmed publish and consume", raw, "events/s"),
        Figure("outbox to committed inbox (SQLite)", whole, "events/s"),
        Figure("outbox to committed inbox / raw", whole / raw, "", (">=", 0.5)),
        Figure("commit to handled, p50", percentile(latencies, 0.5) * 1000, "ms"),
        Figure("commit to handled, p99", percentile(latencies, 0.99) * 1000, "ms"),
    ]


SCHEMA = Path(contracts.__file__).parent / "events" / "auth" / "user.created.json"
DATA = {
    "user_id": "0193b5c1-0000-7000-8000-000000000001",
    "phone": "+94771234567",
    "email": "nimal@example.com",
    "name": "Nimal Perera",
    "language": "si",
    "roles": ["customer"],
    "created_at": "2026-11-21T10:00:00.000000Z",
}


class Pair:
    """A producing and a consuming service, each with its own database and worker process."""

    def __init__(self, folder: Path, rabbitmq_url: str) -> None:
        self.contracts = folder / "contracts"
        self._producer = House(
            _made(folder / "producer"), f"sqlite:///{folder}/producer.sqlite3", rabbitmq_url
        )
        self._consumer = House(
            _made(folder / "consumer"), f"sqlite:///{folder}/consumer.sqlite3", rabbitmq_url
        )

    def prepare(self) -> None:
        """The house's thing gets the schema of a real event, of the middle size."""
        self._producer.write_contracts(self.contracts)
        schema = self.contracts / "events" / self._producer.name / f"{THING}.json"
        schema.write_bytes(SCHEMA.read_bytes())
        queues = {self._consumer.queue: [THING]}
        (self.contracts / "queues" / f"{self._producer.name}.json").write_bytes(orjson.dumps(queues))
        self._producer.migrate()
        self._consumer.migrate()

    @contextmanager
    def workers(self) -> Iterator[None]:
        with self._process(self._producer, "relay"), self._process(self._consumer, "consume"):
            self._emit()
            eventually(lambda: self._handled() == 1, within=60)
            time.sleep(3.0)  # young quorum queues are still busy with themselves
            yield

    def rate(self, count: int) -> float:
        """Events a second from the commit that wrote them to the commit of the last inbox row."""
        rows = [new_event(THING, subject="somebody", data=DATA) for _ in range(count)]
        values = [
            {"id": row.id, "type": row.type, "body": row.body, "created_at": row.created_at, "attempts": 0}
            for row in rows
        ]
        before = self._handled()
        with self._producer.app.app_context(), transaction() as session:
            session.execute(insert(Outbox), values)
            wake(session, "outbox")
        began = time.perf_counter()
        eventually(lambda: self._has_handled(rows[-1].id), within=120)  # asked so that asking costs little
        seconds = time.perf_counter() - began
        assert self._handled() == before + count
        return count / seconds

    def latencies(self, count: int) -> list[float]:
        """Seconds from an event's commit to its handler's transaction, at a low rate."""
        emitted: dict[str, float] = {}
        for _ in range(count):
            event_id = self._emit()
            emitted[event_id] = time.time()
            time.sleep(PAUSE_S)
        with self._consumer.app.app_context():
            eventually(lambda: len(self._times(emitted)) == count, within=30)
            return [handled - emitted[event_id] for event_id, handled in self._times(emitted).items()]

    def _emit(self) -> str:
        row = new_event(THING, subject="somebody", data=DATA)
        with self._producer.app.app_context(), transaction() as session:
            session.add(row)
        return row.id

    def _times(self, wanted: dict[str, float]) -> dict[str, float]:
        with reading() as session:
            rows = session.execute(select(Inbox.event_id, Inbox.handled_at)).all()
        return {event_id: at.timestamp() for event_id, at in rows if event_id in wanted}

    def _has_handled(self, event_id: str) -> bool:
        with self._consumer.app.app_context(), reading() as session:
            return session.get(Inbox, (self._consumer.queue, event_id)) is not None

    def _handled(self) -> int:
        with self._consumer.app.app_context(), reading() as session:
            return session.scalar(select(func.count()).select_from(Inbox)) or 0

    @contextmanager
    def _process(self, house: House, role: str) -> Iterator[None]:
        environment = {
            "BENCH_HOUSE": house.name,
            "BENCH_CONTRACTS": str(self.contracts),
            "LOG_LEVEL": "WARNING",
        }
        with _role(role, os.environ | house.environment | environment):
            yield


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@contextmanager
def _role(role: str, environment: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "tests.bench.events", role]
    process = subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=15)


def nothing(_session: object, _event: Event) -> None:
    """The handler: what is measured is the way to it."""


def work(role: str) -> None:
    """A worker process that only relays, or only consumes."""
    name, folder = os.environ["BENCH_HOUSE"], Path(os.environ["BENCH_CONTRACTS"])
    with published(folder):
        house = House(folder, os.environ[f"{name}_DATABASE_URL".upper()], os.environ["RABBITMQ_URL"], name)
        run_worker(house.app, {house.queue: {THING: nothing}} if role == "consume" else {})


RAW = "bench.raw"
RAW_ACK_EVERY = 50


def raw_rate(url: str) -> float:
    """Events a second with nothing but the broker: the same messages through the same kind of exchange and queue,
    confirmed and acknowledged in batches."""
    with _blocking(url) as connection:
        channel = connection.channel()
        channel.exchange_declare(RAW, "topic", durable=True)
        channel.queue_declare(RAW, durable=True, arguments=topology.main_queue(RAW).arguments)
        channel.queue_bind(RAW, RAW, THING)
    environment = os.environ | {"RABBITMQ_URL": url}
    with _role("raw-consume", environment) as consumer:
        assert _line(consumer) == "ready"
        with _role("raw-publish", environment) as publisher:
            began = float(_line(publisher))
            return EVENTS / (float(_line(consumer)) - began)


def _line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def raw_publish() -> None:
    bodies = [orjson.dumps({"specversion": "1.0", "data": DATA, "rest": "x" * 400}) for _ in range(EVENTS)]
    publisher = Publisher(pika.URLParameters(os.environ["RABBITMQ_URL"]), lambda: False)
    publisher.connect()
    print(time.time(), flush=True)
    for start in range(0, EVENTS, BATCH):
        publisher.send([Message(RAW, THING, bodies[n], _properties(n)) for n in range(start, start + BATCH)])
        assert len(publisher.settle().confirmed) == BATCH
    publisher.close()


def _properties(n: int) -> BasicProperties:
    return BasicProperties(
        content_type=CONTENT_TYPE, delivery_mode=2, message_id=f"{n:036}", type=THING, app_id=RAW, timestamp=n
    )


def raw_consume() -> None:
    count = 0
    with _blocking(os.environ["RABBITMQ_URL"]) as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=4 * RAW_ACK_EVERY)

        def on_message(
            _channel: object, method: pika.spec.Basic.Deliver, _properties: object, _body: bytes
        ) -> None:
            nonlocal count
            count += 1
            if count % RAW_ACK_EVERY == 0:
                channel.basic_ack(method.delivery_tag or 0, multiple=True)
            if count == EVENTS:
                print(time.time(), flush=True)

        channel.basic_consume(RAW, on_message)
        print("ready", flush=True)
        while count < EVENTS:
            connection.process_data_events(time_limit=1)


@contextmanager
def _blocking(url: str) -> Iterator[pika.BlockingConnection]:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        yield connection
    finally:
        connection.close()


ROLES = {"raw-publish": raw_publish, "raw-consume": raw_consume}

if __name__ == "__main__":
    role = sys.argv[1]
    if role in ROLES:
        ROLES[role]()
    else:
        work(role)
