"""A client of the platform's public interface for the demo's commands: patient, and never doing anything twice."""

import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import httpx

from dev.terminal import Trouble

PATIENCE = 60.0  # seconds for a step to come true
TRY_AGAIN = {429, 502, 503, 504}

Found = TypeVar("Found")


class Refused(Exception):
    """The platform answered with something else than success."""

    def __init__(self, method: str, path: str, response: httpx.Response) -> None:
        problem = _json(response)
        self.status = response.status_code
        self.code = str(problem.get("code", ""))
        detail = problem.get("detail") or problem.get("title") or response.text[:200]
        super().__init__(f"{method} {path}: {self.status} {self.code} {detail}")


class Api:
    """One caller. Each request is repeated while the platform is unreachable, with the same Idempotency-Key."""

    def __init__(
        self, url: str, *, patience: float = PATIENCE, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._http = httpx.Client(base_url=url, timeout=httpx.Timeout(10, connect=3), transport=transport)
        self._patience = patience
        self.token: str | None = None

    def get(self, path: str, **query: str) -> Any:
        return self._call("GET", path, params=query)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._call("POST", path, json=body, headers={"Idempotency-Key": str(uuid.uuid4())})

    def login(self, phone: str, password: str) -> None:
        """Raises Refused when the platform does not know them."""
        answer = self.post("/api/auth/login", {"phone": phone, "password": password})
        self.token = answer["access_token"]

    def close(self) -> None:
        self._http.close()

    def _call(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **request: Any
    ) -> Any:
        authorization = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        deadline = time.monotonic() + self._patience
        while True:
            try:
                response = self._http.request(
                    method, path, headers={**authorization, **(headers or {})}, **request
                )
            except httpx.TransportError as error:
                reason = f"{method} {path}: {type(error).__name__}"
                response = None
            if response is not None:
                if response.is_success:
                    return _json(response)
                refusal = Refused(method, path, response)
                if response.status_code not in TRY_AGAIN and refusal.code != "request_in_progress":
                    raise refusal
                reason = str(refusal)
            if time.monotonic() > deadline:
                raise Trouble(f"no success within {self._patience:.0f} s: {reason}")
            time.sleep(0.2)


def eventually(what: str, look: Callable[[], Found | None], within: float = PATIENCE) -> Found:
    """What `look` finds, asked until it finds something. Raises `Trouble` saying what did not come true."""
    deadline = time.monotonic() + within
    while True:
        try:
            found = look()
        except Refused as refusal:
            if refusal.status != 404:
                raise
            found = None
        if found:
            return found
        if time.monotonic() > deadline:
            raise Trouble(f"not within {within:.0f} s: {what}")
        time.sleep(0.02)


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return {}
