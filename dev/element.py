"""A REST network element for development and tests: real HTTP, with faults that can be switched on.

`python -m dev.element --port 9100` serves every kind under its own path (`http://127.0.0.1:9100/hlr`, `…/ocs`, …) and
prints the two variables that make `make up` provision over HTTP. What it was told lives in memory, or with `--file` in
a SQLite file that outlives it.

`PUT /faults` switches faults, each a share of the calls from 0 to 1 (and `latency_s`, `refuses`): `unavailable` answers
503 before anything happened; `late` does as told but answers after `late_s`; `half` does as told and breaks the answer
off; `garbage` does as told and answers nonsense; `lost` does as told and closes the connection. `GET /faults` shows
them, `GET /calls` how many calls came in and how many effects they had.
"""

import argparse
import json
import random
import sqlite3
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from dev.ports import LOOPBACK

SHARES = ("unavailable", "late", "half", "garbage", "lost")
NO_FAULTS: dict[str, Any] = {
    **dict.fromkeys(SHARES, 0.0), "late_s": 10.0, "latency_s": 0.0, "refuses": ["AQ", "withdrawn"],
}  # fmt: skip
STATES = {"activate": "active", "deactivate": "absent"}
LARGEST_BODY = 1024 * 1024


class ElementServer(ThreadingHTTPServer):
    """Elements of all kinds behind one port."""

    daemon_threads = True

    def __init__(self, port: int = 0, memory: str = ":memory:", seed: int = 0) -> None:
        super().__init__((LOOPBACK, port), Handler)
        self.faults = dict(NO_FAULTS)
        self.random = random.Random(seed)  # noqa: S311 (repeatable faults, not a secret)
        self.calls = 0
        self._lock = threading.Lock()
        self._memory = sqlite3.connect(memory, check_same_thread=False, isolation_level=None)
        self._memory.executescript(
            "CREATE TABLE IF NOT EXISTS answers (command_id TEXT PRIMARY KEY, answer TEXT NOT NULL);"
            "CREATE TABLE IF NOT EXISTS services (element TEXT, service_id TEXT, state TEXT NOT NULL,"
            " characteristics TEXT NOT NULL, PRIMARY KEY (element, service_id));"
        )

    def server_close(self) -> None:
        super().server_close()
        self._memory.close()

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.server_address[1]}"

    @property
    def effects(self) -> int:
        """The commands that it has answered, each counted once however often it came."""
        with self._lock:
            return int(self._memory.execute("SELECT count(*) FROM answers").fetchone()[0])

    def draw(self) -> str:
        """The fault that befalls this call, or nothing."""
        with self._lock:
            self.calls += 1
            luck = self.random.random()
            for name in SHARES:
                luck -= self.faults[name]
                if luck < 0:
                    return name
        return ""

    def command(self, element: str, command_id: str, told: dict[str, Any]) -> dict[str, Any]:
        """Do as told, once; a repeated id gets the first answer."""
        with self._lock:
            row = self._memory.execute(
                "SELECT answer FROM answers WHERE command_id = ?", (command_id,)
            ).fetchone()
            if row is not None:
                return dict(json.loads(row[0]))
            answer = self._do(element, told)
            self._memory.execute("INSERT INTO answers VALUES (?, ?)", (command_id, json.dumps(answer)))
            return answer

    def service(self, element: str, service_id: str) -> dict[str, Any]:
        with self._lock:
            return self._service(element, service_id)

    def forget(self, element: str, service_id: str) -> None:
        """Lose a service, as an element restored from an old backup does."""
        with self._lock:
            self._memory.execute(
                "DELETE FROM services WHERE element = ? AND service_id = ?", (element, service_id)
            )

    def _service(self, element: str, service_id: str) -> dict[str, Any]:
        row = self._memory.execute(
            "SELECT state, characteristics FROM services WHERE element = ? AND service_id = ?",
            (element, service_id),
        ).fetchone()
        if row is None:
            return {"state": "absent", "characteristics": {}}
        return {"state": row[0], "characteristics": json.loads(row[1])}

    def _do(self, element: str, told: dict[str, Any]) -> dict[str, Any]:
        action, characteristics = told["action"], told["characteristics"]
        if action in ("activate", "change") and {told["offering_code"], *characteristics.values()} & set(
            self.faults["refuses"]
        ):
            return {"status": "refused", "reason": "refused_by_network"}
        state = self._service(element, told["service_id"])["state"]
        if action == "reconcile":
            state = told["state"]
        elif action == "suspend":
            state = "suspended" if state == "active" else state
        elif action == "restore":
            state = "active" if state == "suspended" else state
        else:
            state = STATES.get(action, state)
        self._memory.execute(
            "INSERT OR REPLACE INTO services VALUES (?, ?, ?, ?)",
            (element, told["service_id"], state, json.dumps(characteristics)),
        )
        return {"status": "done"}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: ElementServer

    def do_GET(self) -> None:
        match self.path.strip("/").split("/"):
            case ["faults"]:
                self._answer(200, self.server.faults)
            case ["calls"]:
                self._answer(200, {"calls": self.server.calls, "effects": self.server.effects})
            case [element, "services", service_id]:
                if self._up():
                    self._answer(200, self.server.service(element, service_id))
            case _:
                self._answer(404, {})

    def do_PUT(self) -> None:
        try:
            told = json.loads(self.rfile.read(min(int(self.headers["Content-Length"]), LARGEST_BODY)))
        except (TypeError, ValueError):
            self._answer(400, {})
            return
        match self.path.strip("/").split("/"):
            case ["faults"] if told.keys() <= NO_FAULTS.keys():
                self.server.faults = NO_FAULTS | told
                self._answer(200, self.server.faults)
            case [element, "commands", command_id]:
                self._command(element, command_id, told)
            case _:
                self._answer(404, {})

    def log_message(self, format: str, *args: Any) -> None:
        """Calls are counted, not printed."""

    def _up(self) -> bool:
        time.sleep(self.server.faults["latency_s"])
        if self.server.faults["unavailable"] >= 1:
            self._answer(503, {})
            return False
        return True

    def _command(self, element: str, command_id: str, told: dict[str, Any]) -> None:
        time.sleep(self.server.faults["latency_s"])
        fault = self.server.draw()
        if fault == "unavailable":
            self._answer(503, {})
            return
        answer = json.dumps(self.server.command(element, command_id, told)).encode()
        if fault == "late":
            time.sleep(self.server.faults["late_s"])
        if fault in ("half", "lost"):
            if fault == "half":
                self._head(200, len(answer))
                self.wfile.write(answer[: len(answer) // 2])
            self.close_connection = True
            return
        if fault == "garbage":
            answer = b"<html>\xff\x00 502 </html>"
        try:
            self._head(200, len(answer))
            self.wfile.write(answer)
        except OSError:
            self.close_connection = True  # the caller has given up

    def _answer(self, status: int, body: Any) -> None:
        raw = json.dumps(body).encode()
        self._head(status, len(raw))
        self.wfile.write(raw)

    def _head(self, status: int, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length))
        self.end_headers()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m dev.element", description="A REST network element.")
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--file", type=Path, help="keep what it was told in this SQLite file")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    options = parser.parse_args()
    server = ElementServer(options.port, str(options.file or ":memory:"), options.seed)
    urls = ",".join(f"{kind}={server.url}/{kind}" for kind in ("ocs", "hlr", "crbt", "smsc"))
    print(f"PROVISIONING_ELEMENT_DRIVER=http PROVISIONING_ELEMENT_URLS={urls}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
