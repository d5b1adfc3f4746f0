"""The notification service on a real web server, for tests and benchmarks of event streams."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import orjson
from flask import Flask

from dev.ports import free_ports
from tests.support.eventually import crowding, eventually
from tests.support.services import test_jwks


@contextmanager
def event_streams(app: Flask, folder: Path, *, workers: int = 1) -> Iterator[tuple[str, int]]:
    """gunicorn with two threads per worker on the application's database: its URL and its pid."""
    (port,) = free_ports(1)
    with _keys() as jwks_url:
        environment = os.environ | {
            "NOTIFICATION_DATABASE_URL": app.extensions["sricare_settings"].database_url,
            "RABBITMQ_URL": "amqp://127.0.0.1:1/",
            "JWKS_URL": jwks_url,
            "SRICARE_ENV": "development",
            "WEB_WORKERS": str(workers),
            "WEB_THREADS": "2",
            "GUNICORN_CMD_ARGS": "--log-level info",
        }
        options = ("--config", "python:common.web.gunicorn_conf", "--bind", f"127.0.0.1:{port}")
        command = [sys.executable, "-m", "gunicorn", *options, "notification.app:create_app()"]
        with (folder / "web.log").open("wb") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            url = f"http://127.0.0.1:{port}"
            eventually(lambda: _answers(url), within=30)
            yield url, process.pid
        finally:
            process.terminate()
            process.wait(timeout=12 * crowding())


@contextmanager
def _keys() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(orjson.dumps(test_jwks()))

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready", timeout=2).status_code == 200
    except httpx.TransportError:
        return False
