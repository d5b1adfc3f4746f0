"""What the worker does by itself: carries out commands, ends unpaid orders and services whose time is over.

Each function opens its own short transactions and is safe to repeat, also in two workers at once.
"""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from flask import Flask

from common import clock
from common.db import reading, transaction
from provisioning import queries
from provisioning.gateway import Answer, NetworkElements, Verdict
from provisioning.use_cases import commands, orders, services

log = logging.getLogger(__name__)

BATCH = 100


def carry_out(command_id: str, elements: NetworkElements, lease: timedelta) -> None:
    """One attempt at a command: claim, call, settle. A crash anywhere leaves it to be due again after the lease."""
    with transaction() as session:
        call = commands.claim_command(session, command_id=command_id, lease=lease)
    if call is None:
        return
    try:
        answer = elements.execute(call)
    except Exception as error:
        log.exception("command %s: the driver failed", command_id)
        answer = Answer(Verdict.FAILED, "driver_error", type(error).__name__)
    if answer.verdict is not Verdict.DONE:
        log.warning(
            "command %s, attempt %d: %s %s", command_id, call.attempt, answer.verdict.value, answer.reason
        )
    with transaction() as session:
        commands.settle_command(session, command_id=command_id, attempt=call.attempt, answer=answer)


class CommandRunner:
    """Hands due commands to a few threads, so that a slow element does not hold up the others' commands."""

    def __init__(self, app: Flask, elements: NetworkElements, *, threads: int, lease: timedelta) -> None:
        self._app = app
        self._elements = elements
        self._threads = threads
        self._lease = lease
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="command")
        self._busy: set[str] = set()
        self._lock = threading.Lock()
        self._closed = False

    def run(self) -> None:
        """Start what is due as far as threads are free, and return; a thread that is done looks for more by itself."""
        for command_id in self._take():
            self._pool.submit(self._work, command_id)

    def close(self) -> None:
        """Take nothing new and wait for the calls at hand."""
        with self._lock:
            self._closed = True
        self._pool.shutdown()

    def _take(self) -> list[str]:
        with self._lock:
            free = self._threads - len(self._busy)
            if free <= 0 or self._closed:
                return []
            with reading() as session:
                due = queries.due_commands(session, self._threads + len(self._busy))
            taken = [command_id for command_id in due if command_id not in self._busy][:free]
            self._busy.update(taken)
            return taken

    def _work(self, command_id: str) -> None:
        """After a failure of ours the commands wait for the job's next round, so that nothing spins."""
        try:
            with self._app.app_context():
                try:
                    carry_out(command_id, self._elements, self._lease)
                finally:
                    self._done(command_id)
                self.run()
        except Exception:
            log.exception("command %s is left for later", command_id)

    def _done(self, command_id: str) -> None:
        with self._lock:
            self._busy.discard(command_id)


def expire_unpaid_orders(life: timedelta) -> bool:
    """End orders that were not paid in time; True when there are more."""
    before = clock.now() - life
    with reading() as session:
        found = queries.unpaid_orders(session, before, BATCH)
    for order_id in found:
        with transaction() as session:
            orders.expire_order(session, order_id=order_id, before=before)
    return len(found) == BATCH


def end_validities() -> bool:
    """Have services switched off whose time is over; True when there are more."""
    with reading() as session:
        found = queries.services_past_validity(session, BATCH)
    for service_id in found:
        with transaction() as session:
            services.end_validity(session, service_id=service_id)
    return len(found) == BATCH
