"""Bad input gets the contract's problem document: never a 500, nothing written."""

import base64
import json
import threading
import time
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from flask import Flask
from flask.testing import FlaskClient
from openapi_spec_validator import validate
from sqlalchemy import func, select

from common import clock, ids
from common.db import db, reading, transaction
from common.db.tables import Outbox
from common.identity import Identity, revoke
from common.identity.revocations import Watch
from tests.support.eventually import eventually
from tests.support.services import TEST_KEY, TEST_KID, bearer, token

JSON = {"Content-Type": "application/json"}


def rows() -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(Outbox)) or 0


def check_problem(answer, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    document = answer.json
    assert {"type", "title", "status", "detail", "instance", "code", "request_id"} <= set(document)
    assert (document["status"], document["code"]) == (status, code)
    assert document["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b'{"name":', "application/json", 400, "malformed_request"),
        (b"", "application/json", 422, "validation_failed"),
        (b"[]", "application/json", 422, "validation_failed"),
        (b"null", "application/json", 422, "validation_failed"),
        (b'{"name":1}', "application/json", 422, "validation_failed"),
        (b'{"name":"a","amount":"5"}', "application/json", 422, "validation_failed"),
        (b'{"name":"a","amount":1.5}', "application/json", 422, "validation_failed"),
        (b'{"name":"a","amount":1e400}', "application/json", 422, "validation_failed"),
        (b'{"name":"a","extra":1}', "application/json", 422, "validation_failed"),
        (b'{"name":"a\\u0000b"}', "application/json", 422, "validation_failed"),
        (b'{"name":"a\\ud800b"}', "application/json", 400, "malformed_request"),
        (b'{"name":"a","amount":NaN}', "application/json", 400, "malformed_request"),
        (b'{"name":"a","amount":-Infinity}', "application/json", 400, "malformed_request"),
        (b'{"name":"NaN\\u0000","amount":1}', "application/json", 422, "validation_failed"),
        (b'{"name":"\xff"}', "application/json", 400, "malformed_request"),
        (b"[" * 100_000, "application/json", 400, "malformed_request"),
        (b'{"name":"a"}', "text/plain", 415, "unsupported_media_type"),
        (b"name=a", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b'{"name":"' + b"a" * 1_100_000 + b'"}', "application/json", 413, "body_too_large"),
    ],
)
def test_bad_bodies(client: FlaskClient, body: bytes, content_type: str, status: int, code: str) -> None:
    headers = bearer(key="k") | {"Content-Type": content_type}
    check_problem(client.post("/api/probe/works", data=body, headers=headers), status, code)
    assert rows() == 0


def test_a_backslash_that_only_looks_like_nul_is_kept(client: FlaskClient) -> None:
    answer = client.post("/api/probe/works", data=b'{"name":"a\\\\u0000b"}', headers=bearer(key="k") | JSON)
    assert answer.status_code == 201
    assert answer.json["name"] == "a\\u0000b"


def test_a_422_names_the_field(client: FlaskClient) -> None:
    answer = client.post("/api/probe/works", json={"name": "a" * 21}, headers=bearer(key="k"))
    assert [error["field"] for error in answer.json["errors"]] == ["name"]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=x", "cursor=zzz", "cursor=%00", "cursor=" + "a" * 300, "what=1", "limit=1&limit=2",
     "cursor=" + base64.urlsafe_b64encode(b"' OR 1=1 --").decode(), "cursor=%C3%A9", "cursor="],
)  # fmt: skip
def test_bad_queries(client: FlaskClient, query: str) -> None:
    check_problem(client.get(f"/api/probe/works?{query}", headers=bearer()), 422, "validation_failed")


@pytest.mark.parametrize(
    "path", ["/api/probe/works/1", "/api/probe/works/%00", "/nope", "/api/probe/works/" + "a" * 3000]
)
def test_unknown_paths(client: FlaskClient, path: str) -> None:
    check_problem(client.get(path, headers=bearer(None, "admin")), 404, "not_found")


def test_a_method_that_is_not_offered(client: FlaskClient) -> None:
    answer = client.delete("/api/probe/works", headers=bearer())
    check_problem(answer, 405, "method_not_allowed")
    assert "GET" in answer.headers["Allow"]


def test_a_role_that_is_missing(client: FlaskClient) -> None:
    check_problem(client.get(f"/api/probe/works/{ids.new_id()}", headers=bearer()), 403, "forbidden")


def forged() -> dict[str, str]:
    payload = {
        "iss": "sri-care-auth",
        "aud": "sri-care",
        "sub": "x",
        "sid": "y",
        "roles": ["admin"],
        "iat": int(time.time()),
    }
    good = payload | {"exp": int(time.time()) + 900}
    public = TEST_KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    def segment(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    def hs256_with_public_key() -> str:
        import hashlib
        import hmac

        signed = f"{segment({'alg': 'HS256', 'typ': 'JWT', 'kid': TEST_KID})}.{segment(good)}"
        mac = hmac.new(public, signed.encode(), hashlib.sha256).digest()
        return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"

    def signed(claims: dict[str, object], kid: str = TEST_KID) -> str:
        return jwt.encode(claims, TEST_KEY, algorithm="RS256", headers={"kid": kid})

    return {
        "nonsense": "abc",
        "three dots": "a.b.c",
        "alg none": f"{segment({'alg': 'none', 'kid': TEST_KID})}.{segment(good)}.",
        "HS256 with the public key": hs256_with_public_key(),
        "expired": signed(payload | {"exp": int(time.time()) - 1}),
        "no expiry": signed(payload),
        "another issuer": signed(good | {"iss": "evil"}),
        "another audience": signed(good | {"aud": "evil"}),
        "unknown key": signed(good, kid="other"),
        "payload changed": ".".join(
            [signed(good).split(".")[0], segment(good | {"sub": "z"}), signed(good).split(".")[2]]
        ),
        "very long": "a" * 9000,
    }


@pytest.mark.parametrize("name", forged())
def test_forged_and_expired_tokens_are_refused(client: FlaskClient, name: str) -> None:
    answer = client.get("/api/probe/works", headers={"Authorization": f"Bearer {forged()[name]}"})
    check_problem(answer, 401, "unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_cached_token_still_expires(client: FlaskClient) -> None:
    headers = bearer()
    assert client.get("/api/probe/works", headers=headers).status_code == 200
    with clock.frozen(clock.now() + timedelta(minutes=16)):
        assert client.get("/api/probe/works", headers=headers).status_code == 401


def test_a_revoked_session_is_refused_within_two_seconds(client: FlaskClient) -> None:
    session_id = ids.new_id()
    headers = {"Authorization": f"Bearer {token(None, session_id=session_id)}"}
    assert client.get("/api/probe/works", headers=headers).status_code == 200
    with transaction() as session:
        revoke(session, f"session:{session_id}", clock.now())
    eventually(lambda: client.get("/api/probe/works", headers=headers).status_code == 401, within=2)


def test_a_process_that_has_just_started_lets_no_revoked_session_in(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    revoked = Identity(ids.new_id(), ids.new_id(), frozenset(), clock.now().timestamp(), 0)
    with transaction() as session:
        revoke(session, f"session:{revoked.session_id}", clock.now())
    watch, looking, go_on = Watch(), threading.Event(), threading.Event()
    look, answers = watch._look, []

    def slowly() -> None:
        looking.set()
        go_on.wait(60)
        look()

    def ask() -> None:
        with app.app_context():
            answers.append(watch.refuses(revoked))

    monkeypatch.setattr(watch, "_look", slowly)
    first, second = threading.Thread(target=ask), threading.Thread(target=ask)
    first.start()
    assert looking.wait(60)
    second.start()
    second.join(0.2)  # who does not wait for the first look has answered by now
    go_on.set()
    first.join()
    second.join()
    assert answers == [True, True]


def test_a_bug_shows_nothing_of_itself(client: FlaskClient, capsys: pytest.CaptureFixture[str]) -> None:
    answer = client.post("/api/probe/works", json={"name": "a", "fail": "bug"}, headers=bearer(key="k"))
    check_problem(answer, 500, "internal_error")
    assert "hunter2" not in answer.text


def test_an_answer_of_ours_that_is_not_valid_is_our_fault(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = client.post("/api/probe/works", json={"name": "a", "fail": "model"}, headers=bearer(key="k"))
    check_problem(answer, 500, "internal_error")
    assert rows() == 0
    (fault,) = [record for record in caplog.records if record.name == "common.web.problems"]
    assert "WorkOut: [{'type': 'string_type', 'loc': ('name',)" in caplog.text
    assert fault.exc_info is not None
    assert "hunter2" not in str(fault.exc_info[1])


def test_a_locked_database_is_503_with_retry_after(app: Flask, database_url: str) -> None:
    if database_url.startswith("sqlite"):
        with transaction():
            answer = app.test_client().post("/api/probe/works", json={"name": "a"}, headers=bearer(key="k"))
        check_problem(answer, 503, "database_unavailable")
        assert answer.headers["Retry-After"]
    assert (
        app.test_client().post("/api/probe/works", json={"name": "a"}, headers=bearer(key="k")).status_code
        == 201
    )


def test_a_database_that_is_gone_is_503(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy import create_engine

    gone = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none", connect_args={"connect_timeout": 1})
    monkeypatch.setattr(type(db), "engine", property(lambda _self: gone))
    check_problem(app.test_client().get("/api/probe/works", headers=bearer()), 503, "database_unavailable")


def test_request_ids_are_taken_over_or_made(client: FlaskClient) -> None:
    given = client.get("/live", headers={"X-Request-ID": "abc-123"})
    assert given.headers["X-Request-ID"] == "abc-123"
    for bad in ("a b", "x" * 200, "é", ""):
        made = client.get("/live", headers={"X-Request-ID": bad.encode("utf-8").decode("latin-1")})
        assert ids.is_id(made.headers["X-Request-ID"])


def test_every_answer_has_the_security_headers(client: FlaskClient) -> None:
    for path in ("/live", "/nope", "/api/probe/works"):
        headers = client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["Referrer-Policy"]
        assert headers["Cache-Control"] == "no-store"


def test_the_openapi_document_is_valid_and_complete(client: FlaskClient, app: Flask) -> None:
    document = client.get("/api/probe/openapi.json").json
    validate(document)
    routes = {rule.rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("probe.")}
    assert {path.replace("{", "<id:").replace("}", ">") for path in document["paths"]} == routes
    assert "overloaded" in document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]


def test_swagger_ui_needs_no_other_host(client: FlaskClient) -> None:
    page = client.get("/api/probe/apidocs/")
    assert page.status_code == 200
    sources = [part.split('"')[0] for mark in ('src="', 'href="') for part in page.text.split(mark)[1:]]
    assert sources
    for source in sources:
        if "github.com" in source:  # the footer's link, not an asset
            continue
        assert source.startswith("/api/probe/apidocs/static/"), source
        with client.get(source) as asset:
            assert asset.status_code == 200


def test_pages_walk_all_rows_once_newest_first(client: FlaskClient) -> None:
    user = ids.new_id()
    for number in range(7):
        client.post("/api/probe/works", json={"name": str(number)}, headers=bearer(user, key=str(number)))
    names, cursor = [], ""
    while cursor is not None:
        page = client.get(
            f"/api/probe/works?limit=3{cursor and '&cursor=' + cursor}", headers=bearer(user)
        ).json
        names += [item["name"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert names == list("6543210")
