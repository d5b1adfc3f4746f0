"""Chat: messages a second, many silent clients, and all of them coming back at once.

One chat process (eventlet, SQLite, no broker, no bot) and one process with all clients share the machine. `echo` is the
same server with `message:send` answered and told to the room, but not stored.
"""

import asyncio
import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from common import ids
from common.db import db, upgrade
from tests.bench.figures import Figure, percentile
from tests.support.chat import ChatServer, jwks_server
from tests.support.engineio import Client, Refused
from tests.support.services import make_app, token

TALKERS, EACH, ROUNDS = 50, 20, 5
"""The best round counts: what disturbs a machine only ever makes one slower."""
CROWD = 1000
SPEAKERS = CROWD // 20
SECONDS = 40
ECHO = {"CHAT_BENCH_ECHO": "1"}
CALM = {"CHAT_EVENTS_BURST": "1000", "LOG_LEVEL": "WARNING"}


def run() -> list[Figure]:
    echo, stored = _talk(ECHO), _talk({})
    return [
        Figure(f"{TALKERS} clients x {EACH} messages, echoed", echo.rate, "/s"),
        Figure(f"{TALKERS} clients x {EACH} messages, stored", stored.rate, "/s", (">=", 1200)),
        Figure("stored / echoed", stored.rate / echo.rate),
        Figure("message sent to acknowledged, p99", stored.slowest, "ms", ("<=", 65)),
        Figure("the server's processor for an echoed message", echo.processor, "ms"),
        Figure("the server's processor for a stored message", stored.processor, "ms"),
        *_crowd(),
    ]


@dataclass
class Customer:
    """A customer with a conversation."""

    token: str
    conversation: str
    client: Client | None = None

    async def enter(self, port: int) -> Client:
        """Connect and join. Raises OSError or Refused."""
        self.client = await Client.connect(port, self.token)
        answer = await self.client.call("conversation:join", {"conversation_id": self.conversation})
        if not answer["ok"]:
            raise Refused(answer)
        return self.client

    async def say(self, body: str) -> float:
        """Milliseconds until it was acknowledged."""
        assert self.client is not None
        wish = {"conversation_id": self.conversation, "client_message_id": ids.new_id(), "body": body}
        began = time.perf_counter()
        answer = await self.client.call("message:send", wish)
        assert answer["ok"], answer
        return (time.perf_counter() - began) * 1000


@dataclass(frozen=True)
class Talk:
    """Messages a second and p99 of the acknowledgement in ms, of the best round; processor time in ms, of all."""

    rate: float
    slowest: float
    processor: float


def _talk(variables: dict[str, str]) -> Talk:
    with _server(variables) as server:
        customers = _customers(server, TALKERS)
        before = _processor(server)
        rounds = asyncio.run(_rounds(server.port, customers))
        spent = _processor(server) - before
    rates, slowest = zip(*rounds, strict=True)
    return Talk(max(rates), min(slowest), spent * 1000 / (TALKERS * EACH * ROUNDS))


def _processor(server: ChatServer) -> float:
    times = psutil.Process(server.pid).cpu_times()
    return float(times.user + times.system)


async def _rounds(port: int, customers: list[Customer]) -> list[tuple[float, float]]:
    for customer in customers:
        await customer.enter(port)

    async def talk(customer: Customer) -> list[float]:
        return [await customer.say(f"message {n}") for n in range(EACH)]

    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        times = [each for one in await asyncio.gather(*map(talk, customers)) for each in one]
        found.append((len(times) / (time.perf_counter() - began), percentile(times, 0.99)))
    for customer in customers:
        assert customer.client is not None
        customer.client.close()
    return found


def _crowd() -> list[Figure]:
    with _server({}) as server:
        customers = _customers(server, CROWD)
        before = _memory(server)
        times, grown, back = asyncio.run(_crowd_of(server, customers, before))
    return [
        Figure(
            f"{CROWD} clients, a message a second from {SPEAKERS}, p50", percentile(times, 0.5), "ms"
        ),
        Figure(
            f"{CROWD} clients, a message a second from {SPEAKERS}, p99",
            percentile(times, 0.99), "ms", ("<=", 150),
        ),
        Figure("memory of a connection", grown / CROWD / 1024, "KiB"),
        Figure(f"server killed until {CROWD} clients are back", back, "s", ("<=", 10)),
    ]  # fmt: skip


async def _crowd_of(
    server: ChatServer, customers: list[Customer], before: int
) -> tuple[list[float], int, float]:
    for customer in customers:
        await customer.enter(server.port)
    grown = _memory(server) - before
    times = []
    for n in range(SECONDS):
        began = time.perf_counter()
        times.append(await customers[n % SPEAKERS].say("still there?"))
        await asyncio.sleep(max(0.0, began + 1.0 - time.perf_counter()))
    coming_back = [asyncio.ensure_future(_come_back(customer, server.port)) for customer in customers]
    began = time.perf_counter()
    await asyncio.get_running_loop().run_in_executor(None, _restart, server)
    await asyncio.gather(*coming_back)
    return times, grown, time.perf_counter() - began


async def _come_back(customer: Customer, port: int) -> None:
    """As the pages do: soon, then less and less often."""
    assert customer.client is not None
    await customer.client.ended()
    wait = 0.3
    while True:
        await asyncio.sleep(wait * random.uniform(0.5, 1.5))
        try:
            client = await asyncio.wait_for(customer.enter(port), timeout=20)
        except (OSError, Refused, TimeoutError):
            wait = min(3.0, wait * 2)
        else:
            client.close()
            return


def _restart(server: ChatServer) -> None:
    server.kill()
    server.start()


@contextmanager
def _server(variables: dict[str, str]) -> Iterator[ChatServer]:
    with tempfile.TemporaryDirectory() as name, jwks_server() as jwks_url:
        folder = Path(name)
        url = f"sqlite:///{folder / 'chat.sqlite3'}"
        app = make_app("chat", url, folder)
        with app.app_context():
            upgrade()
            db.engine.dispose()
        module = "tests.bench.chat" if variables == ECHO else "chat.server"
        server = ChatServer(url, jwks_url, "amqp://127.0.0.1:1/", CALM | variables, module=module)
        try:
            yield server.start()
        finally:
            server.close()


def _customers(server: ChatServer, count: int) -> list[Customer]:
    found = []
    for _ in range(count):
        user_id = ids.new_id()
        access = token(user_id)
        found.append(Customer(access, server.open_conversation(user_id, access)))
    return found


def _memory(server: ChatServer) -> int:
    found: int = psutil.Process(server.pid).memory_info().rss
    return found


def _echo() -> None:
    """The chat server whose messages are told and not stored."""
    from chat import server

    server._patch()
    from chat import broadcast, serving
    from chat.models import SenderRole
    from chat.schemas.conversations import MessageOut, SenderOut, SendIn
    from chat.sockets.client_events import HANDLERS
    from common import clock

    def send(connection: Any, wish: SendIn) -> dict[str, Any]:
        connection.must_have_joined(wish.conversation_id)
        message = MessageOut(
            id=ids.new_id(),
            client_message_id=wish.client_message_id,
            conversation_id=wish.conversation_id,
            seq=1,
            sender=SenderOut(id=connection.identity.user_id, name=None, role=SenderRole.CUSTOMER),
            body=wish.body,
            created_at=clock.now(),
        )
        broadcast.message_new(message)
        return {"message": message.model_dump(mode="json")}

    HANDLERS["message:send"] = (SendIn, send)
    serving.serve()


if __name__ == "__main__":
    if os.environ.get("CHAT_BENCH_ECHO"):
        _echo()
    else:
        for figure in run():
            print(figure)
