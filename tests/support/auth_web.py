"""auth as gunicorn serves it in several processes, each of which names itself in its answers."""

import os
import signal
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import orjson
from flask import Flask, Response

from auth.app import create_app
from dev.ports import free_ports
from tests.support.eventually import crowding, eventually

WORKERS = 4


def serve() -> Flask:
    app = create_app()

    @app.after_request
    def _sign(response: Response) -> Response:
        response.headers["X-Worker"] = str(os.getpid())
        return response

    return app


@contextmanager
def served(settings: dict[str, str], folder: Path) -> Iterator[int]:
    """The port of four processes with these variables. They are forked from one that has imported everything: four
    imports would take longer than all that is asked of them."""
    (port,) = free_ports(1)
    environment = os.environ | {"WEB_WORKERS": str(WORKERS), "WEB_THREADS": "16"} | settings
    options = ("--config", "python:common.web.gunicorn_conf", "--preload", "--bind", f"127.0.0.1:{port}")
    command = [sys.executable, "-m", "gunicorn", *options, "tests.support.auth_web:serve()"]
    with (folder / "web.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        eventually(lambda: _listens(port), within=60)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # nothing of it is looked at any more
        process.wait(timeout=10 * crowding())


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Caller:
    """A kept connection, and so always the same process at its other end."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=60 * crowding())
        self.worker = ""

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and JSON of the answer."""
        sent = orjson.dumps(body) if body is not None else None
        self._connection.request(method, path, sent, {"Content-Type": "application/json"} | headers)
        answer = self._connection.getresponse()
        self.worker, content = answer.getheader("X-Worker", ""), answer.read()
        return answer.status, orjson.loads(content) if content.startswith(b"{") else None

    def close(self) -> None:
        self._connection.close()


@contextmanager
def callers(port: int, each: int) -> Iterator[list[Caller]]:
    """So many connections to each of the processes, one process after the other."""
    kept: dict[str, list[Caller]] = defaultdict(list)

    def all_kept() -> bool:
        caller = Caller(port)
        caller.ask("GET", "/live")
        if len(kept[caller.worker]) < each:
            kept[caller.worker].append(caller)
        else:
            caller.close()
        return len(kept) == WORKERS and all(len(some) == each for some in kept.values())

    eventually(all_kept, within=60)
    found = [some[place] for place in range(each) for some in kept.values()]
    try:
        yield found
    finally:
        for caller in found:
            caller.close()
