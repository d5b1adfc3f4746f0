"""Logins against the hash alone on the same cores; the profile while logins saturate; what a profile GET costs.

One gunicorn serves auth on SQLite as `make up` does (2 workers, 16 threads). The hash alone is Argon2id with auth's
parameters in as many processes as there are cores, as far back in the queue for them as auth's hashing threads stand
(nice 10), so that a busy machine weighs on both alike. Rounds alternate; the ratio is the median over the rounds.
Clients are threads of this process and take their share of the same cores. Each login is of an account of its own.
"""

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
from pathlib import Path

import httpx
from argon2 import PasswordHasher

from dev.ports import free_ports
from tests.bench.figures import Figure, percentile

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse battery"
CORES = os.cpu_count() or 1
ROUNDS, ROUND_S = 3, 4.0
LOGIN_CLIENTS = 6
ACCOUNTS = 24
PROFILES = 400


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="sri-care-bench-") as folder, _serving(Path(folder)) as url:
        tokens = [_register(url, n) for n in range(ACCOUNTS)]
        pairs = [(_hashes_per_s(), _logins_per_s(url)) for _ in range(ROUNDS)]
        quiet = [_profile_s(url, tokens[0]) for _ in range(PROFILES)]
        bare = [_get_s(f"{url}/live") for _ in range(PROFILES)]
        busy = _while_logins_saturate(url, lambda: _profile_s(url, tokens[0]))
    ratio = statistics.median(logins / hashes for hashes, logins in pairs)
    return [
        Figure("hashes alone, all cores", statistics.median(each for each, _ in pairs), "/s"),
        Figure("logins", statistics.median(each for _, each in pairs), "/s"),
        Figure("logins against the hash alone", ratio, "ratio", (">=", 0.9)),
        Figure("profile while logins saturate, p50", percentile(busy, 0.5) * 1000, "ms"),
        Figure("profile while logins saturate, p99", percentile(busy, 0.99) * 1000, "ms", ("<=", 50)),
        Figure("profile GET, nothing else going on, p50", percentile(quiet, 0.5) * 1000, "ms"),
        Figure("of it: the server and a bare route (/live), p50", percentile(bare, 0.5) * 1000, "ms"),
    ]


@contextmanager
def _serving(folder: Path) -> Iterator[str]:
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
    command += ["--bind", f"127.0.0.1:{port}", "auth.app:create_app()"]
    server = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        _wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(15)


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


def _hashes(seconds: float) -> int:
    hasher, count = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1), 0
    stored, deadline = hasher.hash(PASSWORD), time.monotonic() + seconds
    while time.monotonic() < deadline:
        hasher.verify(stored, PASSWORD)
        count += 1
    return count


def _hashes_per_s() -> float:
    with ProcessPoolExecutor(CORES, initializer=os.nice, initargs=(10,)) as processes:
        return sum(processes.map(_hashes, [ROUND_S] * CORES)) / ROUND_S


def _logins_per_s(url: str) -> float:
    counts = [0] * LOGIN_CLIENTS
    deadline = time.monotonic() + ROUND_S

    def login(client: int) -> None:
        with httpx.Client(base_url=url, timeout=15) as http:
            number = client
            while time.monotonic() < deadline:
                body = {"phone": _phone(number % ACCOUNTS), "password": PASSWORD}
                answer = http.post("/api/auth/login", json=body)
                assert answer.status_code in (200, 503), answer.text
                counts[client] += answer.status_code == 200
                number += LOGIN_CLIENTS

    with ThreadPoolExecutor(LOGIN_CLIENTS) as threads:
        list(threads.map(login, range(LOGIN_CLIENTS)))
    return sum(counts) / ROUND_S


def _while_logins_saturate(url: str, measure: Callable[[], float]) -> list[float]:
    found: list[float] = []
    stop = threading.Event()

    def profiles() -> None:
        while not stop.is_set():
            found.append(measure())
            stop.wait(0.01)

    reader = threading.Thread(target=profiles)
    reader.start()
    for _ in range(2):
        _logins_per_s(url)
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
