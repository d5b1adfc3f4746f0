"""REST network elements.

What an element serves under its base URL:

- `PUT /commands/{command_id}` with the command as JSON → 200 `{"status": "done"}`, or
  `{"status": "refused", "reason": "word"}`; the same id again gives the first answer again, without a second effect.
- `GET /services/{service_id}` → 200 `{"state": "active"|"suspended"|"absent", "characteristics": {…}}`.

Only a whole, well-formed answer counts. Whatever else comes (a status that is not 200, half an answer, garbage, a
redirect, too much, too late) leaves the outcome unknown: the same command is sent again.
"""

import time
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import httpx
from pydantic import BaseModel, Field, ValidationError

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
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=timeout_s,
            limits=httpx.Limits(max_keepalive_connections=32, keepalive_expiry=30),
            follow_redirects=False,
            trust_env=False,
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
        self._client.close()

    def _ask(
        self, method: str, element: Element, path: str, answer: type[M], body: dict[str, Any] | None = None
    ) -> M:
        deadline = time.monotonic() + self._timeout_s
        try:
            with self._client.stream(method, self._urls[element] + path, json=body) as response:
                status, raw = response.status_code, _read(response, deadline)
        except httpx.TimeoutException as error:
            raise NoAnswer("no_answer", type(error).__name__) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NoAnswer("element_unavailable", type(error).__name__) from None
        if status != 200:
            raise NoAnswer("element_unavailable", f"HTTP {status}")
        try:
            return answer.model_validate_json(raw)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            raise NoAnswer("unusable_answer", f"{first['loc']}: {first['msg']}"[:500]) from None


def _read(response: httpx.Response, deadline: float) -> bytes:
    """The body; an element that drips it or never ends it is left."""
    raw = bytearray()
    for piece in response.iter_bytes():
        raw += piece
        if len(raw) > MAX_ANSWER:
            raise NoAnswer("unusable_answer", f"more than {MAX_ANSWER} bytes")
        if time.monotonic() > deadline:
            raise NoAnswer("no_answer", "too slow")
    return bytes(raw)
