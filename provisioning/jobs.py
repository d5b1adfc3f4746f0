"""What the worker does by itself: carries out commands, ends unpaid orders and services whose time is over.

Each function opens its own short transactions and is safe to repeat, also in two workers at once.
"""

import logging
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import timedelta

from flask import Flask
from prometheus_client import Counter, Gauge, Histogram
from sqlalchemy.exc import OperationalError

from common import clock
from common.db import reading, rerun_lost_race, transaction
from provisioning import queries
from provisioning.gateway import Answer, Call, NetworkElements, Verdict
from provisioning.models import CallRules, Element
from provisioning.use_cases import commands, inventory, orders, services

log = logging.getLogger(__name__)

BATCH = 100
WARN_DAYS = (1, 3)
LONGEST_WAIT_S = 0.5
LOOK_AGAIN_S = 0.05
"""While calls are under way: for new commands, which ring the job but not this wait."""
GATHER_S = 0.01
"""How long an answer waits for those of the other calls that are under way: a transaction for ten costs little more
than one for one."""
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


def claim(command_ids: Sequence[str], element: Element, rules: CallRules) -> list[Call]:
    """The calls of the element that are the caller's to make: a crash leaves them to be due again after the lease."""
    with transaction() as session:
        return commands.claim_commands(session, element=element, command_ids=command_ids, rules=rules)


def make_call(call: Call, elements: NetworkElements) -> commands.Answered:
    """Whatever comes of it is an answer."""
    began = time.perf_counter()
    try:
        answer = elements.execute(call)
    except Exception as error:
        log.exception("command %s: the driver failed", call.command_id)
        answer = Answer(Verdict.FAILED, "driver_error", type(error).__name__)
    CALL_SECONDS.labels(call.element.value).observe(time.perf_counter() - began)
    CALLS.labels(call.element.value, call.action.value, answer.verdict.value).inc()
    if answer.verdict is not Verdict.DONE:
        log.warning(
            "command %s, attempt %d: %s %s",
            call.command_id,
            call.attempt,
            answer.verdict.value,
            answer.reason,
        )
    return commands.Answered(call.command_id, call.attempt, answer)


def settle(
    answered: Sequence[commands.Answered], element: Element, rules: CallRules, quarantine: timedelta
) -> None:
    """All at once, or each by itself when they do not go together; what cannot be settled is due again after its
    lease."""

    @rerun_lost_race
    def settle_all() -> None:
        with transaction() as session:
            commands.settle_commands(session, answered, element=element, rules=rules, quarantine=quarantine)

    try:
        settle_all()
    except Exception as error:
        if len(answered) == 1 or isinstance(error, OperationalError):
            log.exception("left for later: commands %s", ", ".join(one.command_id for one in answered))
            return
        for one in answered:
            settle([one], element, rules, quarantine)


class CommandRunner:
    """Carries out the commands of one element at its pace: claims and settles several in one transaction, and makes the
    calls in a few threads. Each element has its own, so that a slow one does not hold up the others' commands.

    No more is claimed than there are free threads, so that a call begins with its lease. Answers that come close
    together are settled together.
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
        self._under_way: list[Future[commands.Answered]] = []

    def run(self) -> bool:
        """Start what is due as far as threads are free and the pace allows, settle meanwhile what was answered, then
        wait a moment for more of either. True while there may be more to do now."""
        answered = self._take_answered()
        try:
            pause = self._start()
        finally:
            self._settle(answered)
        if pause is None:
            return bool(answered)  # what they settled may have been waited for
        if self._under_way:
            wait(self._under_way, pause, FIRST_COMPLETED)
            wait(self._under_way, min(pause, GATHER_S))
        else:
            time.sleep(pause)
        return True

    def close(self) -> None:
        """Wait for the calls at hand and settle them, when it is run no more."""
        self._pool.shutdown()
        with self._app.app_context():
            self._settle(self._take_answered())

    def _take_answered(self) -> list[commands.Answered]:
        over = [call for call in self._under_way if call.done()]
        self._under_way = [call for call in self._under_way if call not in over]
        return [call.result() for call in over]

    def _settle(self, answered: list[commands.Answered]) -> None:
        if answered:
            settle(answered, self._element, self._rules, self._quarantine)

    def _start(self) -> float | None:
        """Seconds until it is worth looking again; None when nothing is due and no call is under way."""
        room = self._threads - len(self._under_way)
        if not room:
            return LONGEST_WAIT_S
        with reading() as session:
            due, pace = queries.due_commands(session, self._element, self._rules, room)
        if due and pace:
            return min(pace.total_seconds(), LONGEST_WAIT_S)
        for call in claim(due, self._element, self._rules) if due else ():
            self._under_way.append(self._pool.submit(self._call, call))
        return LOOK_AGAIN_S if due or self._under_way else None

    def _call(self, call: Call) -> commands.Answered:
        with self._app.app_context():
            return make_call(call, self._elements)


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
