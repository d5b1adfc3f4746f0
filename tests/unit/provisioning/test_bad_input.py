"""Whatever a client sends to any route, it gets the contract's answer and never a 500."""

import re
from collections.abc import Iterator
from typing import Any

import orjson
from flask import Flask
from flask.testing import FlaskClient

from common import ids
from common.web.operation import declared_operation
from tests.support.services import bearer

BODIES = (
    b"", b"{", b"[]", b"null", b'"x"', b"{}", b"\xff", b'{"a": "\\u0000"}', b'{"a": "\\ud800"}', b"[" * 2000,
)  # fmt: skip
VALUES = (None, -1, 10**30, True, [], ["\x00"], "", "\x00", "x" * 2000)
WORDS = ("", "%00", "%FF", "9" * 30, "x" * 1000)


def routes(app: Flask) -> Iterator[tuple[str, str, Any]]:
    """(method, path with an id that is not there, operation) of every route of the API."""
    for rule in app.url_map.iter_rules():
        operation = declared_operation(app.view_functions[rule.endpoint])
        if operation is None:
            continue
        path = (
            re.sub(r"<id:[^>]+>", ids.new_id(), rule.rule)
            .replace("<name>", "sims")
            .replace("<element>", "ocs")
        )
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield method, path, operation


def attempts(app: Flask) -> Iterator[tuple[str, str, bytes | None]]:
    for method, path, operation in routes(app):
        yield method, re.sub(r"[0-9a-f]{8}-[^/]+", "not-an-id", path), None
        for name in operation.query.model_fields if operation.query is not None else ("surprise",):
            for word in WORDS:
                yield method, f"{path}?{name}={word}", None
        if method == "GET":
            continue
        for body in BODIES:
            yield method, path, body
        for name in operation.body.model_fields if operation.body is not None else ():
            for value in VALUES:
                yield method, path, b'{"%s":%s}' % (name.encode(), _json(value))


def _json(value: Any) -> bytes:
    return str(value).encode() if value == 10**30 else orjson.dumps(value)


def test_nothing_that_is_sent_to_any_route_is_our_failure(app: Flask, client: FlaskClient) -> None:
    everybody = bearer(None, "customer", "agent", "admin") | {"Content-Type": "application/json"}
    wrong = []
    for method, path, body in attempts(app):
        headers = everybody | {"Idempotency-Key": ids.new_id()}
        answer = client.open(path, method=method, data=body, headers=headers)
        problem = answer.content_type == "application/problem+json" and answer.json.get("code")
        if answer.status_code >= 500 or (answer.status_code >= 400 and not problem):
            wrong.append((method, path, body, answer.status_code))
    assert wrong == []


def test_no_route_but_the_catalogue_and_the_tones_answers_a_stranger(app: Flask, client: FlaskClient) -> None:
    for method, path, operation in routes(app):
        answer = client.open(path, method=method, headers={"Idempotency-Key": "k"})
        assert (answer.status_code == 401) is (operation.roles is not None), (method, path)
