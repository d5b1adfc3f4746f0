"""Logins against the hash alone on the same cores; the profile while logins saturate; what a profile GET costs.

One gunicorn serves auth on SQLite as `make up` does (2 workers, 16 threads). What the hash alone allows is measured by
a route of the same server, asked by the same clients, that verifies the same password in the same threads and does
nothing else: server, framework and clients take their share of the two cores there too, so that the ratio says what
signing in costs beside its hash. Shown beside it: the hash in processes of its own (one per core, nice 10 as auth's
hashing threads), where nothing is served. Rounds alternate; a ratio is the median over the rounds. Clients are threads
of this process on bare sockets, so many that none of the two processes is without one in a round by chance: the kernel
deals their connections out. Each login is of an account of its own. Processor time is what the kernel counts for
the server's processes: it holds on a busy machine too.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from argon2 import PasswordHasher
from flask import Flask, Response, request

import auth.app
from auth import queries
from auth.parts import parts
from auth.schemas.accounts import UserOut
from auth.schemas.sessions import LoginIn
from common.db import snapshot
from common.identity.requests import guard
from common.web import reply
from dev.ports import free_ports
from tests.bench.figures import Figure, percentile

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse battery"
CORES = os.cpu_count() or 1
ROUNDS, ROUND_S = 12, 2.5
LOGIN_CLIENTS = 12
ACCOUNTS = 24
LOGIN, HASH_ONLY = "/api/auth/login", "/bench/hash"
PROFILES = 400


@dataclass(frozen=True)
class Rate:
    """How many a second, and the processor time of one, in milliseconds."""

    per_s: float
    cpu_ms: float


def run() -> list[Figure]:
    with (
        tempfile.TemporaryDirectory(prefix="sri-care-bench-") as name,
        _serving(folder := Path(name)) as server,
    ):
        tokens = [_register(server.url, n) for n in range(ACCOUNTS)]
        _ask(server, LOGIN)
        rounds = [(_hashes(), _ask(server, HASH_ONLY), _ask(server, LOGIN)) for _ in range(ROUNDS)]
        quiet = [_profile_s(server.url, tokens[0]) for _ in range(PROFILES)]
        bare = [_get_s(f"{server.url}/live") for _ in range(PROFILES)]
        busy = _while_logins_saturate(server, lambda: _profile_s(server.url, tokens[0]))
        parts = _profile_parts(folder, tokens[0])
    return [
        *_login_figures(rounds),
        Figure("profile while logins saturate, p50", percentile(busy, 0.5) * 1000, "ms"),
        Figure("profile while logins saturate, p99", percentile(busy, 0.99) * 1000, "ms", ("<=", 50)),
        Figure("profile GET, nothing else going on, p50", percentile(quiet, 0.5) * 1000, "ms"),
        Figure("of it: the server and a bare route (/live), p50", percentile(bare, 0.5) * 1000, "ms"),
        *(Figure(f"of it: {part}", seconds * 1000, "ms") for part, seconds in parts.items()),
    ]


def _login_figures(rounds: list[tuple["Rate", "Rate", "Rate"]]) -> list[Figure]:
    """Of rounds of hashes in processes of their own, served hashes, and logins."""
    alone, served, logins = zip(*rounds, strict=True)
    names = ("a hash in a process of its own", "a hash that is served", "a login")
    figures = []
    for name, rates in zip(names, (alone, served, logins), strict=True):
        figures.append(Figure(f"{name}, all cores", _median(each.per_s for each in rates), "/s"))
        figures.append(Figure(f"{name}, processor time", _median(each.cpu_ms for each in rates), "ms"))

    def against(baseline: tuple["Rate", ...], what: str) -> float:
        pairs = zip(baseline, logins, strict=True)
        if what == "rate":
            return _median(login.per_s / base.per_s for base, login in pairs)
        return _median(base.cpu_ms / login.cpu_ms for base, login in pairs)

    return [
        *figures,
        Figure("logins against served hashes, rate", against(served, "rate"), "ratio", (">=", 0.9)),
        Figure("logins against served hashes, processor time", against(served, "cpu"), "ratio"),
        Figure("logins against hashes in processes of their own, rate", against(alone, "rate"), "ratio"),
        Figure("logins against those, processor time", against(alone, "cpu"), "ratio"),
    ]


def _median(values: Iterator[float]) -> float:
    return statistics.median(values)


def _profile_parts(folder: Path, token: str) -> dict[str, float]:
    """What the parts of a profile GET cost in this process, on the same database."""
    from tests.support.services import make_app

    def median(work: Callable[[], object]) -> float:
        return percentile([_timed(work) for _ in range(PROFILES)], 0.5)

    app = make_app("auth", f"sqlite:///{folder}/auth.sqlite3", folder)
    with app.test_request_context():
        user_id = guard().admit(token).user_id
        with snapshot() as connection:
            row = queries.get_profile(connection, user_id)

        def read() -> None:
            with snapshot() as connection:
                queries.get_profile(connection, user_id)

        return {
            "the token, seen before, and revocations": median(lambda: guard().admit(token)),
            "the row": median(read),
            "the answer": median(lambda: reply(UserOut.of(row))),
        }


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@dataclass(frozen=True)
class Server:
    """gunicorn and its workers."""

    url: str
    pid: int

    def cpu_s(self) -> float:
        """Processor time of the workers so far."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        ticks = 0
        for pid in children:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def _serving(folder: Path) -> Iterator[Server]:
    (port,) = free_ports(1)
    environment = os.environ | {
        "AUTH_DATABASE_URL": f"sqlite:///{folder}/auth.sqlite3",
        "AUTH_KEYS_DIR": str(folder / "keys"),
        "RABBITMQ_URL": "amqp://127.0.0.1:1/",
        "SRICARE_ENV": "development",
        "LOG_LEVEL": "WARNING",
        "WEB_THREADS": "16",
        "AUTH_IP_PER_MINUTE": "1000000",
        "AUTH_IP_FREE_FAILURES": "1000000",
    }
    flask = [
        sys.executable,
        "-m",
        "flask",
        "--app",
        "auth.app",
        "db",
        "upgrade",
        "--directory",
        "auth/migrations",
    ]
    subprocess.run(flask, cwd=ROOT, env=environment, check=True, capture_output=True)
    command = [sys.executable, "-m", "gunicorn", "--config", "python:common.web.gunicorn_conf"]
    command += ["--bind", f"127.0.0.1:{port}", "tests.bench.auth:create_app()"]
    server = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        _wait_for(port)
        yield Server(f"http://127.0.0.1:{port}", server.pid)
    finally:
        server.terminate()
        server.wait(15)


def create_app() -> Flask:
    """What the server serves: auth, and the route that only hashes."""
    app = auth.app.create_app()
    with app.app_context():
        stored = parts().hashing.hash(PASSWORD)

    def only_hash() -> Response:
        body = LoginIn.model_validate_json(request.get_data())
        return reply({"right": parts().hashing.verify(body.password, stored)})

    app.add_url_rule(HASH_ONLY, view_func=only_hash, methods=["POST"])
    return app


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("auth does not listen")


def _phone(number: int) -> str:
    return f"+94771{number:06}"


def _register(url: str, number: int) -> str:
    body = {"phone": _phone(number), "password": PASSWORD, "name": f"Customer {number}"}
    answer = httpx.post(f"{url}/api/auth/register", json=body, timeout=15)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["access_token"])


def _hash_for(seconds: float) -> tuple[int, float]:
    hasher, count = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1), 0
    stored, began = hasher.hash(PASSWORD), time.process_time()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        hasher.verify(stored, PASSWORD)
        count += 1
    return count, time.process_time() - began


def _hashes() -> Rate:
    with ProcessPoolExecutor(CORES, initializer=os.nice, initargs=(10,)) as processes:
        found = list(processes.map(_hash_for, [ROUND_S] * CORES))
    count, cpu_s = (sum(each[side] for each in found) for side in (0, 1))
    return Rate(count / ROUND_S, cpu_s / count * 1000)


def _ask(server: Server, path: str) -> Rate:
    """A round of requests with the body of a sign-in."""
    cpu_s, began = server.cpu_s(), time.monotonic()
    with ThreadPoolExecutor(LOGIN_CLIENTS) as threads:
        count = sum(threads.map(lambda client: _ask_for(server.url, path, client), range(LOGIN_CLIENTS)))
    return Rate(count / (time.monotonic() - began), (server.cpu_s() - cpu_s) / count * 1000)


def _ask_for(url: str, path: str, client: int) -> int:
    """One client's requests of a round, on one connection: how many were answered with 200."""
    count, deadline = 0, time.monotonic() + ROUND_S
    where = urlsplit(url)
    requests = [_request(path, number) for number in range(client, ACCOUNTS, LOGIN_CLIENTS)]
    with socket.create_connection((where.hostname, where.port), timeout=15) as connection:
        answers = connection.makefile("rb")
        while time.monotonic() < deadline:
            connection.sendall(requests[count % len(requests)])
            status = int(answers.readline().split()[1])
            length = 0
            while (line := answers.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            answers.read(length)
            assert status in (200, 503), status
            count += status == 200
    return count


def _request(path: str, number: int) -> bytes:
    body = json.dumps({"phone": _phone(number), "password": PASSWORD})
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Content-Type: application/json\r\n\r\n{body}".encode()


def _while_logins_saturate(server: Server, measure: Callable[[], float]) -> list[float]:
    found: list[float] = []
    stop = threading.Event()

    def profiles() -> None:
        while not stop.is_set():
            found.append(measure())
            stop.wait(0.01)

    reader = threading.Thread(target=profiles)
    reader.start()
    for _ in range(2):
        _ask(server, LOGIN)
    stop.set()
    reader.join()
    return found


_http = httpx.Client(timeout=15)


def _get_s(url: str, **headers: str) -> float:
    began = time.perf_counter()
    answer = _http.get(url, headers=headers)
    assert answer.status_code == 200, answer.text
    return time.perf_counter() - began


def _profile_s(url: str, token: str) -> float:
    return _get_s(f"{url}/api/auth/me", Authorization=f"Bearer {token}")
