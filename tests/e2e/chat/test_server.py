"""The chat process as clients meet it: real process, real sockets, both databases."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask
from socketio.exceptions import ConnectionError as SocketRefused

from chat.handlers import HANDLERS
from chat.models import Conversation
from common import ids
from common.db import transaction
from dev.ports import LOOPBACK
from tests.support.chat import Device
from tests.support.engineio import Client
from tests.support.eventually import crowding, eventually
from tests.support.rabbitmq import PrivateRabbit
from tests.support.services import an_event, bearer, deliver, token

CUSTOMER, AGENT = ids.new_id(), ids.new_id()
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what does not depend on the database."""


def test_what_was_missed_while_the_process_was_killed_comes_exactly_once(
    serve: Callable, device: Callable
) -> None:
    server = serve()
    opened = server.open_conversation(CUSTOMER)
    customer, agent = device(server, CUSTOMER), device(server, AGENT, "agent", transport="polling")
    customer.join(opened)
    agent.join(opened)
    assert customer.say(opened, "hello")["message"]["seq"] == 1
    eventually(lambda: [m["seq"] for m in agent.messages()] == [1])
    customer.close()
    assert agent.say(opened, "good day", "lost-answer")["message"]["seq"] == 2

    server.kill()
    server.start()

    agent = device(server, AGENT, "agent")
    agent.join(opened, after_seq=2)
    assert agent.say(opened, "good day", "lost-answer")["message"]["seq"] == 2
    assert agent.say(opened, "are you there?")["message"]["seq"] == 3
    missed = device(server, CUSTOMER).join(opened, after_seq=1)["messages"]
    assert [(m["seq"], m["body"]) for m in missed] == [(2, "good day"), (3, "are you there?")]


@on_sqlite
def test_a_bad_token_is_refused_with_connect_error(serve: Callable, device: Callable) -> None:
    server = serve()
    for auth in ({"token": "x"}, {"token": token(exp=int(time.time()) - 1)}, {}, None):
        with pytest.raises(SocketRefused):
            device(server, CUSTOMER, auth=auth)


@on_sqlite
def test_a_revoked_session_is_disconnected_though_it_is_silent(
    app: Flask, serve: Callable, device: Callable
) -> None:
    server = serve()
    session_id = ids.new_id()
    silent = device(server, CUSTOMER, access_token=token(CUSTOMER, session_id=session_id))
    other = device(server, CUSTOMER)
    deliver(HANDLERS, an_event("session.revoked", CUSTOMER, {"session_id": session_id}))
    eventually(lambda: not silent.connected, within=4)
    assert other.connected


@on_sqlite
def test_sigterm_answers_what_is_in_hand_and_exits_0_in_time(serve: Callable, device: Callable) -> None:
    server = serve()
    opened = server.open_conversation(CUSTOMER)
    talker, silent = device(server, CUSTOMER), device(server, AGENT, "agent", transport="polling")
    talker.join(opened)
    silent.join(opened)
    server.terminate()
    assert server.wait(10 * crowding()) == 0
    eventually(lambda: not talker.connected and not silent.connected)
    assert "Traceback" not in server.log, server.log


def test_a_locked_database_delays_the_writer_and_nobody_else(
    app: Flask, serve: Callable, device: Callable
) -> None:
    server = serve()
    opened = server.open_conversation(CUSTOMER)
    writer = device(server, CUSTOMER)
    writer.join(opened)
    answers: list[dict] = []
    with transaction() as session:
        session.get(Conversation, opened, with_for_update=True)
        sending = threading.Thread(target=lambda: answers.append(writer.say(opened, "waits")))
        sending.start()
        for _ in range(10):  # a server that stood still would answer when the writer has given up, after 5 s
            assert server.http.get("/live").status_code == 200
            page = server.http.get(f"/api/chat/conversations/{opened}", headers=bearer(CUSTOMER))
            assert page.status_code == 200
        assert not answers
    sending.join(60)
    assert answers[0]["ok"]


@on_sqlite
def test_what_a_client_breaks_is_its_own(serve: Callable, device: Callable) -> None:
    server = serve()
    opened = server.open_conversation(CUSTOMER)
    good, bad = device(server, CUSTOMER), device(server, CUSTOMER)
    good.join(opened)
    bad.join(opened)
    assert bad.say(opened, "x" * 1_048_576)["code"] == "validation_failed"
    assert bad.call("message:send", b"\x00\x01")["code"] == "validation_failed"
    assert (
        bad.call("message:send", {"conversation_id": opened, "body": [[[]]]})["code"] == "validation_failed"
    )
    for raw in (
        "4",
        "42",
        "42/chat,",
        "42/chat,1[",
        '42/chat,1[["x"]]',
        "451-/chat,",
        b"\x01\x02",
        "9",
        "42/other,1[]",
    ):
        bad._client.eio.send(raw)
    assert good.say(opened, "fine")["ok"]
    huge = device(server, CUSTOMER)
    huge._client.emit("message:send", {"body": "x" * 3_000_000}, namespace="/chat")
    eventually(lambda: not huge.connected)
    assert good.say(opened, "still fine")["ok"]
    assert server.http.get("/ready").status_code == 200


@on_sqlite
def test_a_body_in_chunks_is_read_whole_and_one_that_is_none_is_malformed(serve: Callable) -> None:
    server = serve()
    headers = bearer(CUSTOMER) | {"Content-Type": "application/json"}
    pieces = iter([b'{"subject": ', b'"in chunks"}'])
    opened = server.http.post("/api/chat/conversations", content=pieces, headers=headers)
    assert (opened.status_code, opened.json()["subject"]) == (201, "in chunks")
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = (
        f"POST /api/chat/conversations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n{head}\r\nzz\r\n"
    )
    with socket.create_connection((LOOPBACK, server.port), timeout=30) as line:
        line.sendall(request.encode())
        assert line.recv(12) == b"HTTP/1.1 400"


@on_sqlite
def test_a_flood_harms_only_who_sends_it(serve: Callable, device: Callable) -> None:
    server = serve()
    good = device(server, CUSTOMER)
    opened = server.open_conversation(CUSTOMER)
    good.join(opened)

    async def flood() -> None:
        client = await Client.connect(server.port, token(AGENT, "agent"))
        calls = [asyncio.ensure_future(client.call("typing", {"n": n})) for n in range(10_000)]
        await asyncio.wait_for(client.ended(), 120)
        done, _ = await asyncio.wait(calls, timeout=120)
        answers = [None if call.exception() else call.result() for call in done]
        codes = [answer["code"] for answer in answers if answer is not None]
        assert "too_many_requests" in codes
        assert len(codes) < 10_000, "the connection is ended before the flood is over"

    with ThreadPoolExecutor(1) as pool:
        flooding = pool.submit(asyncio.run, flood())
        answers = [good.say(opened, f"fine {n}") for n in range(20)]
        flooding.result(240)
    assert [answer["message"]["seq"] for answer in answers] == list(range(1, 21))
    assert good.connected


@on_sqlite
def test_sigterm_ends_with_0_even_while_it_still_imports(database_url: str) -> None:
    environment = os.environ | {"CHAT_DATABASE_URL": database_url, "JWKS_URL": "http://127.0.0.1:1/"}
    process = subprocess.Popen([sys.executable, "-m", "chat.server"], env=environment)
    try:
        eventually(lambda: catches_sigterm(process.pid), within=20, every=0.005)
        process.terminate()
        assert process.wait(10 * crowding()) == 0
    finally:
        process.kill()
        process.wait()


def catches_sigterm(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(status.split("SigCgt:")[1].split()[0], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


@on_sqlite
def test_a_port_in_use_and_a_missing_setting_are_one_line_and_exit_1(serve: Callable) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        environment = {
            "CHAT_DATABASE_URL": "sqlite:////nowhere/x.sqlite3",
            "RABBITMQ_URL": "amqp://127.0.0.1:1/",
            "JWKS_URL": "http://127.0.0.1:1/",
            "CHAT_PORT": str(port),
        }
        for changes, words in (({}, f"{LOOPBACK}:{port}"), ({"JWKS_URL": ""}, "JWKS_URL is not set")):
            done = subprocess.run(
                [sys.executable, "-m", "chat.server"],
                env=environment | changes, capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            assert done.returncode == 1
            assert words in done.stderr
            assert done.stderr.count("\n") == 1


@on_sqlite
def test_threads_can_take_the_place_of_eventlet(serve: Callable, device: Callable) -> None:
    server = serve(CHAT_ASYNC_MODE="threading")
    opened = server.open_conversation(CUSTOMER)
    customer, agent = device(server, CUSTOMER), device(server, AGENT, "agent", transport="polling")
    customer.join(opened)
    agent.join(opened)
    assert customer.say(opened, "hello")["ok"]
    eventually(lambda: [m["body"] for m in agent.messages()] == ["hello"])
    server.terminate()
    assert server.wait(10 * crowding()) == 0


@on_sqlite
@pytest.mark.broker
def test_two_processes_are_one_and_go_on_alone_without_the_broker(
    serve: Callable, device: Callable, own_rabbit: PrivateRabbit
) -> None:
    left, right = serve(own_rabbit.url), serve(own_rabbit.url)
    opened = left.open_conversation(CUSTOMER)
    customer, agent = device(left, CUSTOMER), device(right, AGENT, "agent")
    near = device(left, ids.new_id(), "agent")
    for one in (customer, agent, near):
        one.join(opened)
    eventually(lambda: (AGENT, True) in presence(customer), within=15)
    eventually(lambda: "fan-out subscribed" in left.log and "fan-out subscribed" in right.log, within=10)
    customer.say(opened, "one")
    eventually(lambda: [m["body"] for m in agent.messages()] == ["one"])

    own_rabbit.kill()
    began = time.monotonic()
    for n in range(20):
        assert customer.say(opened, f"alone {n}")["ok"]
    assert time.monotonic() - began < 10 * crowding(), "telling waits for the broker"
    eventually(lambda: len(near.messages()) == 21)
    assert len(agent.messages()) == 1

    own_rabbit.start()
    eventually(lambda: knows_of(agent, 21), within=15)
    assert CUSTOMER in agent.join(opened)["online"]
    assert [m["seq"] for m in agent.join(opened, after_seq=1)["messages"]] == list(range(2, 22))
    agent.say(opened, "together again")
    eventually(lambda: knows_of(customer, 22), within=15)


def presence(device: Device) -> list[tuple[str, bool]]:
    return [(data["user_id"], data["online"]) for event, data in device.heard if event == "presence"]


def knows_of(device: Device, seq: int) -> bool:
    """Whether the device was told of a message, or at least that there is one to fetch."""
    told = [data["seq"] for data in device.messages()]
    return seq in told + [data["last_seq"] for event, data in device.heard if event == "conversation:updated"]
