"""The engine that sends a channel's messages: claims a batch, has several hands call the providers outside of any
transaction, settles the batch while it claims the next."""

import logging
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from common import clock
from common.db import transaction
from notification.gateway import (
    DeliveryFailed,
    OutcomeUnknown,
    PermanentFailure,
    Provider,
    ProviderAway,
    TemporaryFailure,
)
from notification.gateway.base import masked
from notification.models import SECRETS, AttemptOutcome, Channel, Delivery
from notification.use_cases.sending import Batch, Claimed, Result, Try, claim, settle

log = logging.getLogger(__name__)

BATCH = 50
BATCHES_A_RUN = 5
"""Then the worker may stop, or look around, before the next run."""
BEGIN_WITHIN_S = 5.0
"""A claimed message that has not been begun by then is given back, so that leases can be short."""
PAUSES_S = (5, 10, 20, 40, 80, 160, 300)
"""How long a provider that is away is left alone."""
_CIRCUITS_KEPT = 1000
_LINK = re.compile(r"https?:\S+", re.IGNORECASE)
_REASON_AND_STATUS = re.compile(r"^\w*(?:: [1-5][0-9][0-9]\b)?")


class Circuit:
    """Whether a provider is worth asking. While it is away, one message tries each time its pause is over."""

    def __init__(self) -> None:
        self._failures = 0
        self._until: datetime | None = None
        self._lock = threading.Lock()

    @property
    def until(self) -> datetime | None:
        """When it may be asked again; None while it works."""
        return self._until

    @property
    def ready(self) -> bool:
        return self._until is None or clock.now() >= self._until

    def ask(self) -> bool:
        """Whether this message may try. Of many that ask when the pause is over one may."""
        with self._lock:
            if self._until is None:
                return True
            if clock.now() < self._until:
                return False
            self._until = clock.now() + self._pause()
            return True

    def failed(self) -> None:
        with self._lock:
            self._failures += 1
            self._until = clock.now() + self._pause()

    def worked(self) -> None:
        if self._failures:
            with self._lock:
                self._failures, self._until = 0, None

    def _pause(self) -> timedelta:
        seconds = PAUSES_S[min(max(self._failures, 1), len(PAUSES_S)) - 1]
        return timedelta(seconds=seconds * random.uniform(0.8, 1.0))  # noqa: S311 (jitter, not a secret)


class Sender:
    """One channel's messages, by its providers in their order: the next takes what one that is away does not.

    `providers` makes a set of them for each of the `hands` that send at the same time (a mail connection serves one at
    a time). `make` writes a message from a claim; with `per_target` each target is judged on its own.
    """

    def __init__(
        self,
        channel: Channel,
        make: Callable[[Claimed], Any],
        providers: Callable[[], Sequence[Provider[Any]]],
        *,
        hands: int = 1,
        per_target: bool = False,
    ) -> None:
        self.channel = channel
        self._make = make
        self._hands = [providers() for _ in range(hands)]
        self._per_target = per_target
        self._circuits: dict[tuple[str, str], Circuit] = {}
        self._lease = sum((provider.lease for provider in self._hands[0]), timedelta(seconds=BEGIN_WITHIN_S))

    def run(self) -> bool:
        """Send what is due; whether there may be more. Connections are kept from run to run while there is."""
        more = False
        try:
            more = self._send_batches()
        finally:
            if not more:
                for hand in self._hands:
                    for provider in hand:
                        provider.close()
        return more

    def _send_batches(self) -> bool:
        results: list[Result] = []
        for left in range(BATCHES_A_RUN, -1, -1):
            go_on = left > 0 and self._any_ready()
            with transaction() as session:
                settle(session, results)
                batch = (
                    claim(session, channel=self.channel, lease=self._lease, limit=BATCH) if go_on else Batch()
                )
            if not batch.claimed and not batch.more:
                return left == 0
            results = self._send(batch.claimed)
        return False

    def _any_ready(self) -> bool:
        return self._per_target or any(self._circuit(provider.name, "").ready for provider in self._hands[0])

    def _send(self, batch: Sequence[Claimed]) -> list[Result]:
        """All of the batch, by all hands; a hand takes the next when it has finished one."""
        deadline = time.monotonic() + BEGIN_WITHIN_S
        waiting, results, lock = iter(batch), list[Result](), threading.Lock()

        def work(hand: Sequence[Provider[Any]]) -> None:
            while (claimed := _next(waiting, lock)) is not None:
                results.append(self._send_one(hand, claimed, deadline))

        helpers = [
            threading.Thread(target=work, args=(hand,), daemon=True) for hand in self._hands[1 : len(batch)]
        ]
        for helper in helpers:
            helper.start()
        work(self._hands[0])
        for helper in helpers:
            helper.join()
        return results

    def _send_one(self, hand: Sequence[Provider[Any]], claimed: Claimed, deadline: float) -> Result:
        if time.monotonic() > deadline:
            return Result(claimed)
        try:
            message = self._make(claimed)
        except Exception as error:  # whatever a text does to us, the others go on
            log.exception("message cannot be written", extra={"delivery_id": claimed.delivery.id})
            failure = Try("", clock.now(), AttemptOutcome.PERMANENT_FAILURE, "template", type(error).__name__)
            return Result(claimed, [failure])
        tries: list[Try] = []
        pauses: list[datetime] = []
        for provider in hand:
            circuit = self._circuit(provider.name, claimed.delivery.target)
            if not circuit.ask():
                pauses.append(circuit.until or clock.now())
                continue
            tried = self._try(provider, message, circuit, claimed)
            tries.append(replace(tried, wording=message.wording))
            if not tries[-1].away or tries[-1].outcome is AttemptOutcome.UNKNOWN:
                break
        return Result(claimed, tries, min(pauses, default=None))

    def _try(self, provider: Provider[Any], message: Any, circuit: Circuit, claimed: Claimed) -> Try:
        started = clock.now()
        try:
            reference = provider.send(message)
        except DeliveryFailed as error:
            words = kept_words(error, claimed.delivery)
            log.warning("message not sent: %s", words, extra={"delivery_id": claimed.delivery.id})
            away = isinstance(error, ProviderAway)
            if away or (self._per_target and isinstance(error, TemporaryFailure)):
                circuit.failed()
            else:
                circuit.worked()
            return Try(provider.name, started, _outcome(error), error.reason, words, away=away)
        except Exception as error:  # whatever a provider's answer does to us, the others go on
            log.exception("message not sent", extra={"delivery_id": claimed.delivery.id})
            outcome = AttemptOutcome.TEMPORARY_FAILURE
            return Try(provider.name, started, outcome, "unexpected", type(error).__name__)
        circuit.worked()
        return Try(provider.name, started, AttemptOutcome.SENT, reference=reference)

    def _circuit(self, provider: str, target: str) -> Circuit:
        key = (provider, target if self._per_target else "")
        if key not in self._circuits and len(self._circuits) >= _CIRCUITS_KEPT:
            self._circuits.clear()
        return self._circuits.setdefault(key, Circuit())


def kept_words(error: DeliveryFailed, delivery: Delivery) -> str:
    """What is kept and logged of a refusal, as a provider may answer with the message that it refuses: no links, the
    address masked; of a message with a secret only our reason and the provider's status, since there is no knowing how
    the secret would be written."""
    if SECRETS & delivery.data.keys():
        found = _REASON_AND_STATUS.match(str(error))
        return found.group() if found is not None else ""
    words = _LINK.sub("***", str(error))
    return words.replace(delivery.address, masked(delivery.address)) if delivery.address else words


def _next(waiting: Iterator[Claimed], lock: threading.Lock) -> Claimed | None:
    with lock:
        return next(waiting, None)


def _outcome(error: DeliveryFailed) -> AttemptOutcome:
    if isinstance(error, PermanentFailure):
        return AttemptOutcome.PERMANENT_FAILURE
    return AttemptOutcome.UNKNOWN if isinstance(error, OutcomeUnknown) else AttemptOutcome.TEMPORARY_FAILURE
