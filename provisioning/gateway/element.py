"""The words between us and a network element, whatever the driver."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from provisioning.models import Action, Element


class Verdict(StrEnum):
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True)
class Answer:
    """What became of a call: done; refused for good; or failed, with nobody knowing whether it took effect.

    `reason` is a word that customers may see, `detail` is for the operator.
    """

    verdict: Verdict
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Call:
    """A command as an element gets it. `characteristics` and `allowances` are what the service is to have, `state` is
    what a `reconcile` makes of it."""

    command_id: str
    attempt: int
    element: Element
    action: Action
    service_id: str
    subscriber_id: str
    msisdn: str | None
    offering_code: str
    characteristics: dict[str, str] = field(default_factory=dict)
    allowances: dict[str, int] = field(default_factory=dict)
    state: str = ""


class Found(StrEnum):
    """A service as an element has it; `unknown` when the element cannot be asked now."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    ABSENT = "absent"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Sight:
    """What an element says of a service."""

    state: Found
    characteristics: dict[str, str] = field(default_factory=dict)


class NetworkElements(Protocol):
    """A driver. Never raises for what an element does: a time-out is a `FAILED` answer, or an `unknown` sight."""

    def execute(self, call: Call) -> Answer: ...

    def inspect(self, element: Element, service_id: str) -> Sight: ...

    def close(self) -> None: ...
