"""`/live /ready /health /metrics`: for the machine's own port, never routed by the gateway."""

import threading
import time
from datetime import datetime, timedelta
from typing import Any, cast

import pika
import pika.exceptions
from flask import Blueprint, Flask, Response, current_app
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError

from common import clock
from common.db import at_head, reading
from common.db.tables import Heartbeat, Outbox
from common.errors import ServiceUnavailable
from common.settings import Settings
from common.web.metrics import OUTBOX_AGE, OUTBOX_PENDING, metrics_response
from common.web.replies import reply

WORKER_SILENT_AFTER = timedelta(seconds=10)
OUTBOX_LATE_AFTER_S = 60.0
_BROKER_ASKED_EVERY_S = 2.0


def install_health(app: Flask, settings: Settings) -> None:
    """Add the operations endpoints."""
    blueprint = Blueprint("operations", __name__)
    broker = BrokerProbe(settings.rabbitmq_url)

    @blueprint.get("/live")
    def live() -> Response:
        return reply({"status": "ok"})

    @blueprint.get("/ready")
    def ready() -> Response:
        try:
            if at_head():
                return reply({"status": "ok"})
        except SQLAlchemyError:
            raise ServiceUnavailable("The database is not available") from None
        raise ServiceUnavailable("The database is not migrated to this release")

    @blueprint.get("/health")
    def health() -> Response:
        dependencies = {
            "database": _database(),
            "broker": broker.report(),
            "outbox": _outbox(),
            "workers": _workers(settings),
        }
        ok = all(part["status"] == "ok" for part in dependencies.values())
        return reply(
            {
                "service": settings.SERVICE,
                "status": "ok" if ok else "unavailable",
                "dependencies": dependencies,
            },
            200 if ok else 503,
            headers={} if ok else {"Retry-After": "2"},
        )

    @blueprint.get("/metrics")
    def metrics() -> Response:
        _outbox()
        return metrics_response()

    app.register_blueprint(blueprint)


def _database() -> dict[str, Any]:
    try:
        with reading() as session:
            session.execute(text("SELECT 1"))
        return {"status": "ok" if at_head() else "not_migrated"}
    except SQLAlchemyError as error:
        return {"status": "down", "reason": type(error).__name__}


def _outbox() -> dict[str, Any]:
    pending = select(func.count(), func.min(Outbox.created_at)).where(Outbox.published_at.is_(None))
    try:
        with reading() as session:
            row = session.execute(pending).one()
    except SQLAlchemyError as error:
        return {"status": "unknown", "reason": type(error).__name__}
    count, oldest = row[0], cast(datetime | None, row[1])
    age = (clock.now() - oldest).total_seconds() if oldest else 0.0
    OUTBOX_PENDING.set(count)
    OUTBOX_AGE.set(age)
    return {
        "status": "ok" if age < OUTBOX_LATE_AFTER_S else "late",
        "pending": count,
        "oldest_age_s": round(age, 1),
    }


def _workers(settings: Settings) -> dict[str, Any]:
    try:
        with reading() as session:
            beats = session.scalars(select(Heartbeat)).all()
    except SQLAlchemyError as error:
        return {"status": "unknown", "reason": type(error).__name__}
    now = clock.now()
    alive = [beat.name for beat in beats if now - beat.beaten_at < WORKER_SILENT_AFTER]
    latest = max((beat.beaten_at for beat in beats), default=None)
    return {
        "status": "ok" if f"{settings.SERVICE}.worker" in alive else "down",
        "alive": alive,
        "last_seen_at": latest and clock.rfc3339(latest),
    }


class BrokerProbe:
    """Asks the broker by a real handshake, at most every two seconds however often it is asked itself."""

    def __init__(self, url: str) -> None:
        self._parameters = pika.URLParameters(url)
        self._parameters.socket_timeout = 1.0
        self._parameters.stack_timeout = 1.5
        self._parameters.blocked_connection_timeout = 1.0
        self._parameters.connection_attempts = 1
        self._asked_at = float("-inf")
        self._report: dict[str, Any] = {}
        self._lock = threading.Lock()

    def report(self) -> dict[str, Any]:
        with self._lock:
            if time.monotonic() - self._asked_at >= _BROKER_ASKED_EVERY_S:
                self._report = self._ask()
                self._asked_at = time.monotonic()
            return self._report

    def _ask(self) -> dict[str, Any]:
        try:
            pika.BlockingConnection(self._parameters).close()
            return {"status": "ok"}
        except (pika.exceptions.AMQPError, OSError) as error:
            current_app.logger.info("broker not reachable: %s", type(error).__name__)
            return {"status": "down", "reason": type(error).__name__}
