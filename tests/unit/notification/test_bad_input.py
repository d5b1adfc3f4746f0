"""Every route, given what no client should send: the contract's problem answers, and never our fault."""

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from common import ids
from tests.support.services import bearer

BODIES = {
    "nothing": b"",
    "half": b'{"a": ',
    "list": b"[]",
    "null": b"null",
    "number": b"1e999",
    "not utf-8": b'"\xff\xfe"',
    "unknown field": b'{"no_such_field": 1}',
    "deep": b"[" * 20_000,
    "surrogate": b'{"title": "\\ud800", "body": "\\ud800", "url": "\\ud800", "endpoint": "\\ud800"}',
    "nul": b'{"title": "\\u0000", "body": "\\u0000", "url": "\\u0000", "description": "\\u0000"}',
    "wrong types": b'{"title": {}, "body": [], "url": 1, "categories": 1, "quiet_hours": "x", "texts": 1}',
    "huge number": b'{"per_minute": ' + b"9" * 400 + b"}",
}
QUERIES = (
    "limit=0",
    "limit=x",
    "cursor=%00",
    "cursor=AAAA",
    "unread=maybe",
    "state=none",
    "user_id=%00",
    "x=1",
)
PLACES = {
    "code": ("x", "%00", "%2e%2e%2fetc", "invoice.paid"),
    "language": ("xx", "%00"),
    "channel": ("none", "%00", "sms"),
    "provider": ("x", "http", "twilio", "%00"),
}


def paths(rule: str, arguments: set[str]) -> Iterator[str]:
    """The rule with ids that nobody has, and with places that do not exist."""
    for n in range(4):
        path = rule
        for name in arguments:
            values = PLACES.get(name, (ids.new_id(), "x", "%00", "0" * 36))
            for converter in ("", "id:"):
                path = path.replace(f"<{converter}{name}>", values[n % len(values)])
        yield path


@pytest.fixture
def requests_to_all(app: Flask) -> list[tuple[str, str]]:
    return sorted(
        {
            (method, path)
            for rule in app.url_map.iter_rules()
            for method in rule.methods - {"HEAD", "OPTIONS"}
            if rule.rule.startswith("/api/notifications") and "apidocs" not in rule.rule
            for path in paths(rule.rule, set(rule.arguments))
        }
    )


def test_no_body_is_our_fault(client: FlaskClient, requests_to_all: list[tuple[str, str]]) -> None:
    headers = bearer(None, "customer", "admin")
    tried = 0
    for method, path in requests_to_all:
        if method not in ("POST", "PUT", "PATCH"):
            continue
        for kind in ("application/json", "text/plain"):
            bodies = BODIES if kind == "application/json" else {"half": BODIES["half"]}
            for name, body in bodies.items():
                answer = client.open(path, method=method, data=body, headers=headers, content_type=kind)
                tried += 1
                assert answer.status_code < 500, (method, path, name)
                if answer.status_code >= 400:
                    assert answer.content_type == "application/problem+json", (method, path, name)
                    assert {"code", "detail", "request_id"} <= answer.json.keys()
    assert tried > 500


def test_no_query_and_no_id_is_our_fault(client: FlaskClient, requests_to_all: list[tuple[str, str]]) -> None:
    headers = bearer(None, "customer", "admin")
    for method, path in requests_to_all:
        if method not in ("GET", "DELETE"):
            continue
        for query in QUERIES:
            answer = client.open(f"{path}?{query}", method=method, headers=headers)
            shown = path.endswith("/stream")  # 503: this client has no socket to show
            assert answer.status_code < (504 if shown else 500), (method, path, query)
            if answer.status_code >= 400:
                assert answer.content_type == "application/problem+json", (method, path, query)
            answer.close()
