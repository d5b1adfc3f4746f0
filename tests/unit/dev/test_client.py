"""The demo's client survives what a restarted process does to it, and never asks for the same thing twice."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from dev.client import Api, Refused, eventually
from dev.terminal import Trouble

Answer = httpx.Response | httpx.TransportError


def _api(*answers: Answer, patience: float = 5) -> tuple[Api, list[httpx.Request]]:
    """A client of a platform that gives these answers in turn, and the requests that it got."""
    script: Iterator[Answer] = iter(answers)
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        found = next(script)
        if isinstance(found, httpx.TransportError):
            raise found
        return found

    return Api("http://platform", patience=patience, transport=httpx.MockTransport(answer)), requests


def test_a_request_is_repeated_with_its_key_while_the_platform_is_away() -> None:
    api, requests = _api(
        httpx.ConnectError("refused"),
        httpx.Response(503, json={"code": "service_unavailable"}),
        httpx.Response(409, json={"code": "request_in_progress"}),
        httpx.Response(201, json={"id": "1"}),
    )
    assert api.post("/api/payment/process", {}) == {"id": "1"}
    assert len({request.headers["Idempotency-Key"] for request in requests}) == 1


def test_two_requests_have_two_keys() -> None:
    api, requests = _api(httpx.Response(201, json={}), httpx.Response(201, json={}))
    api.post("/api/payment/process", {})
    api.post("/api/payment/process", {})
    assert len({request.headers["Idempotency-Key"] for request in requests}) == 2


def test_a_refusal_is_told_at_once_with_its_code() -> None:
    api, requests = _api(
        httpx.Response(402, json={"code": "card_declined", "detail": "The card was declined"})
    )
    with pytest.raises(Refused, match="402 card_declined The card was declined"):
        api.post("/api/payment/process", {})
    assert len(requests) == 1


def test_what_does_not_come_true_in_time_is_one_clear_line() -> None:
    api, _ = _api(httpx.ConnectError("refused"), patience=0)
    with pytest.raises(Trouble, match=r"no success within 0 s: GET /api/auth/me: ConnectError"):
        api.get("/api/auth/me")
    with pytest.raises(Trouble, match=r"not within 0 s: a wallet"):
        eventually("a wallet", lambda: None, within=0)


def test_what_is_not_there_yet_is_waited_for() -> None:
    looks = iter([404, 404, 200])

    def look() -> str:
        status = next(looks)
        if status == 404:
            raise Refused("GET", "/api/payment/wallet", httpx.Response(404, json={"code": "not_found"}))
        return "wallet"

    lookup: Callable[[], str | None] = look
    assert eventually("a wallet", lookup, within=5) == "wallet"
