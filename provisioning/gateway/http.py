"""REST network elements.

What an element serves under its base URL:

- `PUT /commands/{command_id}` with the command as JSON → 200 `{"status": "done"}`, or
  `{"status": "refused", "reason": "word"}`; the same id again gives the first answer again, without a second effect.
- `GET /services/{service_id}` → 200 `{"state": "active"|"suspended"|"absent", "characteristics": {…}}`.

Only a whole, well-formed answer counts. Whatever else comes (a status that is not 200, half an answer, garbage, a
redirect, too much, too late) leaves the outcome unknown: the same command is sent again.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import httpcore
import orjson
from pydantic import BaseModel, Field, ValidationError

from provisioning.gateway.deadline import Deadline, DeadlineBackend
from provisioning.gateway.element import Answer, Call, Found, Sight, Verdict
from provisioning.models import Element

MAX_ANSWER = 64 * 1024
REFUSED = "refused_by_network"
M = TypeVar("M", bound=BaseModel)


class Settled(BaseModel):
    """An element's answer to a command."""

    status: Literal["done", "refused"]
    reason: str = Field(default=REFUSED, pattern="^[a-z][a-z0-9_]{0,59}$")


class Seen(BaseModel):
    """An element's answer about a service."""

    state: Literal[Found.ACTIVE, Found.SUSPENDED, Found.ABSENT]
    characteristics: dict[str, str] = Field(default_factory=dict)


class NoAnswer(Exception):
    """Nobody knows what the element made of the call: (word, detail)."""


class HttpElements:
    """Calls elements by HTTP, with one limit of time for a whole call. Safe to use from several threads."""

    def __init__(self, urls: Mapping[Element, str], *, token: str | None, timeout_s: float) -> None:
        self._urls = urls
        self._timeout_s = timeout_s
        self._headers = [("Content-Type", "application/json")]
        if token:
            self._headers.append(("Authorization", f"Bearer {token}"))
        self._deadline = Deadline()
        self._pool = httpcore.ConnectionPool(
            max_connections=None,
            max_keepalive_connections=32,
            keepalive_expiry=30,
            network_backend=DeadlineBackend(self._deadline),
        )

    def execute(self, call: Call) -> Answer:
        body = {
            "action": call.action.value,
            "service_id": call.service_id,
            "subscriber_id": call.subscriber_id,
            "msisdn": call.msisdn,
            "offering_code": call.offering_code,
            "characteristics": call.characteristics,
            "allowances": call.allowances,
            "state": call.state,
        }
        try:
            settled = self._ask("PUT", call.element, f"/commands/{call.command_id}", Settled, body)
        except NoAnswer as none:
            word, detail = none.args
            return Answer(Verdict.FAILED, word, detail)
        return Answer(Verdict.DONE) if settled.status == "done" else Answer(Verdict.REFUSED, settled.reason)

    def inspect(self, element: Element, service_id: str) -> Sight:
        try:
            seen = self._ask("GET", element, f"/services/{service_id}", Seen)
        except NoAnswer:
            return Sight(Found.UNKNOWN)
        return Sight(Found(seen.state), seen.characteristics)

    def close(self) -> None:
        self._pool.close()

    def _ask(
        self, method: str, element: Element, path: str, answer: type[M], body: dict[str, Any] | None = None
    ) -> M:
        content = None if body is None else orjson.dumps(body)
        self._deadline.begin(self._timeout_s)
        try:
            with self._pool.stream(
                method, self._urls[element] + path, headers=self._headers, content=content
            ) as response:
                status, raw = response.status, _read(response)
        except httpcore.TimeoutException as error:
            raise NoAnswer("no_answer", type(error).__name__) from None
        except (
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.UnsupportedProtocol,
            OSError,
        ) as error:
            raise NoAnswer("element_unavailable", type(error).__name__) from None
        if status != 200:
            raise NoAnswer("element_unavailable", f"HTTP {status}")
        try:
            return answer.model_validate_json(raw)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            raise NoAnswer("unusable_answer", f"{first['loc']}: {first['msg']}"[:500]) from None


def _read(response: httpcore.Response) -> bytes:
    """The body; an element that never ends it is left."""
    raw = bytearray()
    for piece in response.iter_stream():
        raw += piece
        if len(raw) > MAX_ANSWER:
            raise NoAnswer("unusable_answer", f"more than {MAX_ANSWER} bytes")
    return bytes(raw)
