"""Messages: deliveries per second to local sinks with two workers, events to in-app notifications, event streams.

The sinks are small asyncio servers in a process of their own; workers, web server and sinks share the machine's
cores. Deliveries and events on SQLite and Postgres, streams on SQLite.
"""

import asyncio
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pika
import psutil
from flask import Flask
from sqlalchemy import func, insert, select, update

from common import clock, ids
from common.db import db, reading, transaction, upgrade
from common.messaging import new_event
from common.messaging.envelope import CONTENT_TYPE
from common.messaging.jobs import Job, JobRunner
from common.messaging.topology import declare
from notification.models import Channel, Delivery, DeliveryState, Language, Notification
from tests.bench.figures import Figure, percentile
from tests.support import notification_worker
from tests.support.eventually import eventually
from tests.support.notifications import a_customer, sample, tell
from tests.support.postgres import PostgresServer
from tests.support.rabbitmq import PrivateRabbit
from tests.support.services import bearer, make_app

MESSAGES = 3000
READERS = 500
EVENTS, WARM_UP = 600, 200
EVENTS_PER_S = 100
PERSISTENT = pika.BasicProperties(content_type=CONTENT_TYPE, delivery_mode=2)


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        return [*_rates(Path(folder)), *_latencies(Path(folder)), *_streams(Path(folder))]


def _rates(folder: Path) -> list[Figure]:
    found = []
    with sinks(folder) as (smtp, web), PostgresServer() as server:
        for channel, environment in (
            (
                Channel.EMAIL,
                {"NOTIFICATION_SMTP_HOST": f"127.0.0.1:{smtp}", "NOTIFICATION_SMTP_SECURITY": "none"},
            ),
            (
                Channel.SMS,
                {
                    "NOTIFICATION_SMS_PROVIDERS": "http",
                    "NOTIFICATION_SMS_HTTP_URL": f"http://127.0.0.1:{web}/",
                },
            ),
        ):
            url = f"sqlite:///{folder / channel.value}.sqlite3"
            rate = _rate(folder, url, channel, environment)
            found.append(Figure(f"{channel.value} a second, 2 workers, SQLite", rate, "/s", (">=", 500)))
            rate = _rate(folder, server.create_database(channel.value), channel, environment)
            found.append(Figure(f"{channel.value} a second, 2 workers, Postgres", rate, "/s", (">=", 500)))
    return found


def _rate(folder: Path, url: str, channel: Channel, environment: dict[str, str]) -> float:
    app = make_app("notification", url, folder)
    with app.app_context():
        upgrade()
        user_id = a_customer()
        with transaction() as session:
            session.execute(update(Delivery).values(state=DeliveryState.SENT))
        with sending_worker(app, environment), sending_worker(app, environment):
            _queue(user_id, channel, 50)
            eventually(lambda: _open() == 0, within=60, every=0.05)
            _queue(user_id, channel, MESSAGES)
            began = time.perf_counter()
            eventually(lambda: _open() == 0, within=120, every=0.05)
            taken = time.perf_counter() - began
        db.engine.dispose()
    return MESSAGES / taken


def _queue(user_id: str, channel: Channel, count: int) -> None:
    now = clock.now()
    address = "nimali@example.lk" if channel is Channel.EMAIL else "+94771234567"
    data = {**sample("service.activated", user_id), "name": "Nimali Perera"}
    row = {
        "user_id": user_id, "event_type": "service.activated", "channel": channel, "target": "", "address": address,
        "language": Language.ENGLISH, "data": data, "correlation_id": "bench", "state": DeliveryState.CREATED,
        "attempts": 0, "due_at": now, "created_at": now, "updated_at": now,
    }  # fmt: skip
    with transaction() as session:
        session.execute(
            insert(Delivery), [row | {"id": ids.new_id(), "event_id": ids.new_id()} for _ in range(count)]
        )


def _open() -> int:
    with reading() as session:
        waiting = select(func.count()).select_from(Delivery).where(Delivery.state != DeliveryState.SENT)
        return session.scalar(waiting) or 0


@contextmanager
def sending_worker(app: Flask, environment: dict[str, str]) -> Iterator[None]:
    """A process that does nothing but send."""
    url = app.extensions["sricare_settings"].database_url
    values = {
        "NOTIFICATION_DATABASE_URL": url,
        "RABBITMQ_URL": "amqp://127.0.0.1:1/",
        "JWKS_URL": "http://127.0.0.1:9/",
    }
    command = [sys.executable, "-m", "tests.bench.notification", "send"]
    process = subprocess.Popen(command, env=os.environ | values | environment | {"LOG_LEVEL": "ERROR"})
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def send() -> None:
    """The worker's jobs that send and broadcast, polling a little faster than they would without being rung."""
    from notification.app import create_app
    from notification.worker import BROADCASTS_EVERY_S, go_on_with_broadcasts, senders

    app = create_app()
    stop, leads = threading.Event(), threading.Event()
    leads.set()
    jobs = [Job("broadcasts", BROADCASTS_EVERY_S, go_on_with_broadcasts)]
    jobs += [Job("send", 0.05, sender.run) for sender in senders(app.extensions["sricare_settings"])]
    for job in jobs:
        threading.Thread(target=JobRunner(app, job, leads, stop).run, daemon=True).start()
    threading.Event().wait()


@contextmanager
def sinks(folder: Path) -> Iterator[tuple[int, int]]:
    command = [sys.executable, "-m", "tests.bench.notification", "sinks"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        smtp, web = map(int, process.stdout.readline().split())
        yield smtp, web
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


async def serve_sinks() -> None:
    """An SMTP and an HTTP server that take everything."""

    async def smtp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink\r\n")
        with suppress(OSError, asyncio.IncompleteReadError):
            while line := (await reader.readline()).upper():
                if line.startswith(b"DATA"):
                    writer.write(b"354 go on\r\n")
                    await reader.readuntil(b"\r\n.\r\n")
                writer.write(b"221 bye\r\n" if line.startswith(b"QUIT") else b"250 OK\r\n")
        writer.close()

    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    servers = [await asyncio.start_server(each, "127.0.0.1", 0, limit=1 << 20) for each in (smtp, web)]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


def _latencies(folder: Path) -> list[Figure]:
    """From an event's publishing to its notification, through broker and worker as they run in production. The
    notification's time is that of its insertion: the commit that follows is not in it."""
    found = []
    with PrivateRabbit() as rabbit, PostgresServer() as server:
        for name, url in (
            ("SQLite", f"sqlite:///{folder / 'events'}.sqlite3"),
            ("Postgres", server.create_database("events")),
        ):
            app = make_app("notification", url, folder)
            with app.app_context():
                upgrade()
                with notification_worker.worker(app, folder, rabbit.url, **notification_worker.sinks(folder)):
                    times = _told_after(rabbit.url, [a_customer() for _ in range(20)])
                db.engine.dispose()
            what = f"event to stored in-app notification at 100/s, {name}"
            found.append(Figure(f"{what}, p50", percentile(times, 0.5), "ms"))
            found.append(Figure(f"{what}, p99", percentile(times, 0.99), "ms", ("<=", 60)))
    return found


def _told_after(url: str, users: list[str]) -> list[float]:
    """After how many ms each event was told; the first ones, while worker and queues warm up, do not count."""
    sent: dict[str, float] = {}
    with closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        declare(connection)
        channel = connection.channel()
        began = time.perf_counter()
        for n in range(WARM_UP + EVENTS):
            user_id = users[n % len(users)]
            event = new_event("invoice.paid", subject=user_id, data=sample("invoice.paid", user_id))
            body = event.body.encode()
            connection.sleep(max(0.001, began + n / EVENTS_PER_S - time.perf_counter()))
            sent[event.id] = time.time()
            channel.basic_publish("billing.events", event.type, body, PERSISTENT)
    told = select(Notification.event_id, Notification.created_at).where(
        Notification.event_type == "invoice.paid"
    )

    def times() -> dict[str, float]:
        with reading() as session:
            return {row.event_id: row.created_at.timestamp() for row in session.execute(told)}

    eventually(lambda: len(times()) == len(sent), within=60, every=0.5)
    found = times()
    return [(found[event_id] - at) * 1000 for event_id, at in list(sent.items())[WARM_UP:]]


def _streams(folder: Path) -> list[Figure]:
    from tests.support.stream import event_streams

    app = make_app("notification", f"sqlite:///{folder / 'streams'}.sqlite3", folder)
    with app.app_context():
        upgrade()
        users = [a_customer() for _ in range(READERS // 5)]
        with event_streams(app, folder, workers=2) as (url, pid):
            _leave(_readers(url, users[:20]), pid)  # whatever the first readers cost once
            before = _memory(pid)
            first = _readers(url, users)
            grown = _memory(pid) - before
            began = time.perf_counter()
            for user_id in users:
                tell("invoice.paid", user_id)
            reached = sum(_next_event(stream) for stream in first)
            taken = time.perf_counter() - began
            told = _memory(pid) - before
            _leave(first, pid)
            second = _readers(url, users)
            again = _memory(pid) - before
            _leave(second, pid)
        db.engine.dispose()
    return [
        Figure("event stream readers of 500 that were told", reached, "", (">=", READERS)),
        Figure("all of them told after", taken, "s"),
        Figure("memory of 500 readers", grown / 1e6, "MB", ("<=", 50)),
        Figure("memory of a reader", grown / READERS / 1024, "KiB"),
        Figure("memory of 500 readers when all have been told", told / 1e6, "MB", ("<=", 50)),
        Figure("memory of the next 500 when these have gone", again / 1e6, "MB", ("<=", 50)),
        Figure("readers of the next 500 that were let in", len(second), "", (">=", READERS)),
    ]


def _readers(url: str, users: list[str]) -> list[socket.socket]:
    followed = [_follow(url, user_id) for user_id in users for _ in range(5)]
    return [stream for stream in followed if stream is not None]


def _leave(readers: list[socket.socket], pid: int) -> None:
    """Until the server has noticed."""
    for stream in readers:
        stream.close()
    eventually(lambda: _connections(pid) == 0, within=30, every=0.1)


def _connections(pid: int) -> int:
    """Those of clients that the server's processes hold, also of clients that have gone."""
    process = psutil.Process(pid)
    found = [each.net_connections("tcp") for each in [process, *process.children(recursive=True)]]
    return sum(connection.status in ("ESTABLISHED", "CLOSE_WAIT") for each in found for connection in each)


def _memory(pid: int) -> int:
    process = psutil.Process(pid)
    return sum(each.memory_info().rss for each in [process, *process.children(recursive=True)])


def _follow(url: str, user_id: str) -> socket.socket | None:
    host, port = url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    connection.request("GET", "/api/notifications/stream", headers=bearer(user_id))
    sock = connection.sock
    answer = connection.getresponse()
    duplicate = sock.dup() if answer.status == 200 else None
    answer.close()
    connection.close()
    sock.close()
    return duplicate


def _next_event(stream: socket.socket) -> bool:
    got = b""
    with suppress(OSError):
        while b"event: notification" not in got:
            more = stream.recv(4096)
            if not more:
                return False
            got += more
    return b"event: notification" in got


if __name__ == "__main__":
    role = sys.argv[1] if len(sys.argv) > 1 else ""
    if role == "send":
        send()
    elif role == "sinks":
        asyncio.run(serve_sinks())
    else:
        for figure in run():
            print(figure)
