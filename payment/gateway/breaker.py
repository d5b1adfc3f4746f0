"""Which gateways are down, known to all workers: after five failures in a row one is left alone for half a minute, then
a single call may try it."""

import threading
import time
from datetime import datetime, timedelta

from sqlalchemy import String, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from common import clock
from common.db import reading
from common.db.transactions import lost_race
from payment.models import Base
from payment.transactions import own_transaction

FAILURES = 5
OPEN_FOR = timedelta(seconds=30)
REMEMBERED_S = 1.0
"""How long a process trusts what it read: so the table costs nothing on the hot path."""


class GatewayHealth(Base):
    """Failures in a row; `open_until` while the gateway is left alone. No row: it has always answered."""

    __tablename__ = "gateway_health"

    gateway: Mapped[str] = mapped_column(String(30), primary_key=True)
    failures: Mapped[int]
    open_until: Mapped[datetime | None]


class Breaker:
    """Shared through the database. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read_at = -REMEMBERED_S
        self._known: dict[str, tuple[int, datetime | None]] = {}

    def admits(self, gateway: str) -> bool:
        """Whether a call may go out now; of many who ask after the pause one is let through to try."""
        _, open_until = self._state(gateway)
        if open_until is None:
            return True
        if open_until > clock.now():
            return False
        with own_transaction() as session:
            taken = session.execute(
                update(GatewayHealth)
                .where(GatewayHealth.gateway == gateway, GatewayHealth.open_until == open_until)
                .values(open_until=clock.now() + OPEN_FOR)
            )
        self._forget()
        return bool(taken.rowcount)  # type: ignore[attr-defined]

    def succeeded(self, gateway: str) -> None:
        if self._state(gateway)[0]:
            self._clear(gateway)

    def failed(self, gateway: str) -> None:
        try:
            self._count_failure(gateway)
        except IntegrityError as error:  # another process counted the first one
            if not lost_race(error):
                raise
            self._count_failure(gateway)

    def _count_failure(self, gateway: str) -> None:
        with own_transaction() as session:
            row = session.get(GatewayHealth, gateway, with_for_update=True)
            if row is None:
                row = GatewayHealth(gateway=gateway, failures=0)
                session.add(row)
            row.failures += 1
            if row.failures >= FAILURES:
                row.open_until = clock.now() + OPEN_FOR
        self._forget()

    def _clear(self, gateway: str) -> None:
        with own_transaction() as session:
            session.execute(
                update(GatewayHealth)
                .where(GatewayHealth.gateway == gateway)
                .values(failures=0, open_until=None)
            )
        self._forget()

    def _state(self, gateway: str) -> tuple[int, datetime | None]:
        with self._lock:
            fresh = time.monotonic() - self._read_at < REMEMBERED_S
            if fresh:
                return self._known.get(gateway, (0, None))
        with reading() as session:
            known = {
                row.gateway: (row.failures, row.open_until) for row in session.scalars(select(GatewayHealth))
            }
        with self._lock:
            self._known, self._read_at = known, time.monotonic()
            return known.get(gateway, (0, None))

    def _forget(self) -> None:
        with self._lock:
            self._read_at = -REMEMBERED_S
