"""What the worker does by itself: carries out commands, ends unpaid orders and services whose time is over.

Each function opens its own short transactions and is safe to repeat, also in two workers at once.
"""

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from flask import Flask
from prometheus_client import Counter, Gauge, Histogram

from common import clock
from common.db import reading, rerun_lost_race, transaction
from provisioning import queries
from provisioning.gateway import Answer, NetworkElements, Verdict
from provisioning.models import CallRules, Element
from provisioning.use_cases import commands, inventory, orders, services

log = logging.getLogger(__name__)

BATCH = 100
WARN_DAYS = (1, 3)
LONGEST_WAIT_S = 0.5
LOOK_AGAIN_S = 0.05
"""While calls are under way: for new commands, which ring the job but not this wait."""
CALLS = Counter("element_calls_total", "Calls to network elements", ["element", "action", "verdict"])
CALL_SECONDS = Histogram("element_call_seconds", "Time of a call to a network element", ["element"])
WAITING = Gauge(
    "element_commands_pending",
    "Commands that wait or are under way",
    ["element"],
    multiprocess_mode="mostrecent",
)
REFUSED = Gauge(
    "element_commands_refused",
    "Commands refused within a day that the element must carry out, so that they are told again",
    ["element"],
    multiprocess_mode="mostrecent",
)
CLOSED = Gauge(
    "element_closed",
    "1 while nobody calls it: held, or its circuit is open",
    ["element"],
    multiprocess_mode="mostrecent",
)


def carry_out(command_id: str, elements: NetworkElements, rules: CallRules, quarantine: timedelta) -> None:
    """One attempt at a command: claim, call, settle. A crash anywhere leaves it to be due again after the lease."""
    try:
        with transaction() as session:
            call = commands.claim_command(session, command_id=command_id, rules=rules)
    except commands.NotAdmitted:
        return
    if call is None:
        return
    began = time.perf_counter()
    try:
        answer = elements.execute(call)
    except Exception as error:
        log.exception("command %s: the driver failed", command_id)
        answer = Answer(Verdict.FAILED, "driver_error", type(error).__name__)
    took = time.perf_counter() - began
    if answer.verdict is not Verdict.DONE:
        log.warning(
            "command %s, attempt %d: %s %s", command_id, call.attempt, answer.verdict.value, answer.reason
        )
    with transaction() as session:
        commands.settle_command(
            session,
            command_id=command_id,
            attempt=call.attempt,
            answer=answer,
            rules=rules,
            quarantine=quarantine,
        )
    CALLS.labels(call.element.value, call.action.value, answer.verdict.value).inc()
    CALL_SECONDS.labels(call.element.value).observe(took)


class CommandRunner:
    """Hands the due commands of one element to a few threads, at the element's pace. Each element has its own, so that
    a slow one does not hold up the others' commands.

    As many commands as there are threads wait in line for them (looking for due ones costs nearly as much as carrying
    one out); what waits in line may be claimed by another worker.
    """

    def __init__(
        self,
        app: Flask,
        elements: NetworkElements,
        element: Element,
        *,
        threads: int,
        rules: CallRules,
        quarantine: timedelta,
    ) -> None:
        self._app = app
        self._elements = elements
        self._element = element
        self._threads = threads
        self._rules = rules
        self._quarantine = quarantine
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=commands.job_of(element))
        self._busy: set[str] = set()
        self._lock = threading.Lock()
        self._freed = threading.Event()
        self._closed = False

    def run(self) -> bool:
        """Start what is due as far as threads are free and the pace allows; then wait a moment for either.

        True while there may be more to do now.
        """
        self._freed.clear()
        pause = self._start()
        if pause is not None:
            self._freed.wait(pause)
        return pause is not None and not self._closed

    def close(self) -> None:
        """Take nothing new and wait for the calls at hand."""
        with self._lock:
            self._closed = True
        self._freed.set()
        self._pool.shutdown(cancel_futures=True)

    def _start(self) -> float | None:
        """Seconds until it is worth looking again; None when nothing is due and no call is under way."""
        with self._lock:
            if self._closed:
                return None
            room = 2 * self._threads - len(self._busy)
            if room < self._threads:
                return LONGEST_WAIT_S
            with reading() as session:
                due, calls, pace = queries.due_commands(
                    session, self._element, self._rules, room + len(self._busy)
                )
            idle = [command_id for command_id in due if command_id not in self._busy]
            if idle and pace:
                return min(pace.total_seconds(), LONGEST_WAIT_S)
            unclaimed = len(due) - len(idle)
            for command_id in idle[: max(0, min(room, calls - unclaimed))]:
                self._busy.add(command_id)
                self._pool.submit(self._work, command_id)
            return LOOK_AGAIN_S if self._busy else None

    def _work(self, command_id: str) -> None:
        """After a failure of ours the command waits for the job's next round."""
        try:
            with self._app.app_context():
                carry_out(command_id, self._elements, self._rules, self._quarantine)
        except Exception:
            log.exception("command %s is left for later", command_id)
            time.sleep(LONGEST_WAIT_S)
        finally:
            with self._lock:
                self._busy.discard(command_id)
                if len(self._busy) <= self._threads:
                    self._freed.set()


def give_up_orders(after: timedelta, lease: timedelta, quarantine: timedelta) -> bool:
    """Fail orders whose activation or renewal has not succeeded for so long; True when there are more."""
    before = clock.now() - after
    with reading() as session:
        found = queries.overdue_commands(session, before, BATCH)
    for command_id in found:
        with transaction() as session:
            commands.give_up_order(
                session, command_id=command_id, before=before, lease=lease, quarantine=quarantine
            )
    return len(found) == BATCH


def show_elements() -> None:
    """Renew the figures that alerts watch."""
    with reading() as session:
        for one in queries.list_elements(session):
            WAITING.labels(one["element"].value).set(one["pending"])
            REFUSED.labels(one["element"].value).set(one["refused"])
            CLOSED.labels(one["element"].value).set(one["held"] or one["circuit"] == "open")


def read_deliveries() -> bool:
    """Read on in the oldest delivery of stock that waits, a part of it per transaction; True when there is more."""
    with reading() as session:
        found = queries.next_delivery(session)
    if found is None:
        return False

    @rerun_lost_race
    def read_on() -> None:
        with transaction() as session:
            inventory.read_on(session, import_id=found)

    read_on()
    return True


def expire_unpaid_orders(life: timedelta) -> bool:
    """End orders that were not paid in time; True when there are more."""
    before = clock.now() - life
    with reading() as session:
        found = queries.unpaid_orders(session, before, BATCH)
    for order_id in found:
        with transaction() as session:
            orders.expire_order(session, order_id=order_id, before=before)
    return len(found) == BATCH


def warn_of_ends() -> bool:
    """Tell customers 3 days and 1 day before a service ends, and place the orders that prolong it; True when there are
    more."""
    more = False
    for days in WARN_DAYS:
        within = timedelta(days=days)
        with reading() as session:
            found = queries.services_near_their_end(session, within, days, BATCH)
        for service_id in found:
            with transaction() as session:
                services.near_end(session, service_id=service_id, days=days, within=within)
        more = more or len(found) == BATCH
    return more


def end_validities() -> bool:
    """Have services switched off whose time is over; True when there are more."""
    with reading() as session:
        found = queries.services_past_validity(session, BATCH)
    for service_id in found:
        with transaction() as session:
            services.end_validity(session, service_id=service_id)
    return len(found) == BATCH
