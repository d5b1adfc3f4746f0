"""Idempotency-Key as the contract has it: one effect and one answer per caller, method, path and key.

The claim is a row of the request's first transaction that commits, and the answer is written by the transaction in
which `reply` is called (for most requests the same one, and the same INSERT). So work and answer commit together, and a
crash in between leaves either nothing or a claim whose lease runs out. Of two requests at once with one key the second
to commit meets the first one's row, is rolled back, and gives that answer. A view with several transactions (intend,
call, settle) finds its own earlier work by `work_id()`.

A key is looked up before its view runs, which spares a repeated request the work. An `optimistic` view runs at once,
and its key is looked up when the claim meets another, or when the view is refused or fails: see `look_up`.

Keys are stored as hashes and answers encrypted under the key and the body: neither tokens nor card numbers rest here.
"""

import hashlib
import hmac
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any, cast
from urllib.parse import urlencode

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from flask import Response, request
from sqlalchemy import Row, Table, bindparam, delete, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from common import clock, ids
from common.db.closing import at_the_end, closing_of
from common.db.engine import db
from common.db.tables import IdempotencyKey
from common.db.transactions import companion, key_taken, transaction
from common.errors import (
    AppError,
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
    MalformedRequest,
    RequestInProgress,
)
from common.web.problems import problem_response

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=20)
"""How long a request that died in the middle blocks its key; longer than any call to the outside may take."""
KEPT = timedelta(hours=24)
NOT_KEPT = frozenset({400, 401, 403, 413, 415, 422, 429}) | frozenset(range(500, 600))
"""Refusals before any work: the same key may try again."""


_ROWS = cast(Table, IdempotencyKey.__table__)
_LOOK_UP = select(_ROWS).where(_ROWS.c.scope == bindparam("of"))
_KEEP = (
    update(_ROWS)
    .where(_ROWS.c.scope == bindparam("of"))
    .values(status=bindparam("status"), answer=bindparam("answer"))
)


class _LostClaim(Exception):
    """Another request with the same key claimed it first."""


class Claim:
    """This request's hold on its key. An `unseen` one does not know yet whether the key was used before."""

    def __init__(
        self,
        scope: str,
        fingerprint: str,
        secret: bytes,
        taken_over: Row[Any] | None = None,
        *,
        unseen: bool = False,
    ) -> None:
        self.scope = scope
        self.fingerprint = fingerprint
        self.unseen = unseen
        self.work_id = taken_over.work_id if taken_over else ids.new_id()
        self.resumes = self.held = taken_over is not None
        self.answered = False
        self._secret = secret
        self._open = False
        self._answer: tuple[int, bytes] | None = None
        self._sealed: tuple[Response, bytes] | None = None

    def enter(self) -> None:
        self._open = True

    def before_commit(self, session: Session) -> None:
        status, answer = self._answer or (None, None)
        if self.held:
            if answer is not None:
                closing_of(session).add(_KEEP, {"of": self.scope, "status": status, "answer": answer})
            return
        now = clock.now()
        claim = {
            "scope": self.scope,
            "work_id": self.work_id,
            "fingerprint": self.fingerprint,
            "locked_until": now + LEASE,
            "status": status,
            "answer": answer,
            "created_at": now,
        }
        at_the_end(session, _ROWS, [claim])

    def conflict(self, error: IntegrityError) -> None:
        if not self.held and key_taken(error, _ROWS.name):
            raise _LostClaim from None

    def leave(self, *, committed: bool) -> None:
        self._open = False
        self.held = self.held or committed
        self.answered = self.answered or (committed and self._answer is not None)
        self._answer = None

    def keep(self, response: Response) -> None:
        """Have the open transaction write the answer. Without one it is only sealed, for the transaction that keeps it
        later (`run`'s, if no other does)."""
        if self._sealed is None or self._sealed[0] is not response:
            self._sealed = response, self._seal(response)
        if self._open:
            self._answer = response.status_code, self._sealed[1]

    def forget_sealed(self) -> None:
        """The answer may have got headers since."""
        self._sealed = None

    def release(self) -> None:
        """Let the key be tried again at once (after a failure in the middle); a kept answer stays."""
        with transaction() as session:
            session.execute(
                update(IdempotencyKey)
                .where(IdempotencyKey.scope == self.scope, IdempotencyKey.status.is_(None))
                .values(locked_until=clock.now())
            )

    def open(self, row: Row[Any]) -> Response:
        """The first answer again, byte for byte."""
        assert row.answer is not None
        try:
            document = orjson.loads(AESGCM(self._secret).decrypt(row.answer[:12], row.answer[12:], None))
        except InvalidTag:
            raise IdempotencyKeyReused() from None
        response = Response(document["body"].encode("latin-1"), row.status, document["headers"])
        response.headers["Idempotent-Replayed"] = "true"
        return response

    def _seal(self, response: Response) -> bytes:
        document = orjson.dumps(
            {"headers": list(response.headers.items()), "body": response.get_data().decode("latin-1")}
        )
        nonce = os.urandom(12)
        return nonce + AESGCM(self._secret).encrypt(nonce, document, None)


_current: ContextVar[Claim | None] = ContextVar("idempotency_claim", default=None)


def work_id() -> str:
    """The id for what this request creates: the same again when a request that died is repeated with its key."""
    claim = _current.get()
    return claim.work_id if claim is not None else ids.new_id()


def resumes() -> bool:
    """Whether this request goes on with what an earlier one with its key began: only then is there work to find."""
    claim = _current.get()
    return claim is not None and claim.resumes


def look_up() -> None:
    """Let a repeated request go no further than here. Called by an optimistic view before all that is not undone with
    its first transaction: a call to the outside, a transaction apart, a wait."""
    claim = _current.get()
    if claim is None or not claim.unseen or claim.held:
        return
    if _find(claim.scope) is not None:
        raise _LostClaim
    claim.unseen = False


def keep(response: Response) -> Response:
    """Keep the answer of the current idempotent request with its work. `reply` calls it; who makes the answer before
    the transaction, so that nobody waits for that, calls it in there once more."""
    claim = _current.get()
    if claim is not None:
        claim.keep(response)
    return response


def run(
    view: Callable[[], Response],
    caller: str,
    *,
    required: bool,
    streamed: bool = False,
    optimistic: bool = False,
) -> Response:
    """Run a view under the request's Idempotency-Key, or give the answer that this key got before.

    A `streamed` body, which the view reads from `request.stream`, is never held in memory.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        if required:
            raise IdempotencyKeyRequired()
        return view()
    if not 1 <= len(key) <= 255:
        raise MalformedRequest("Idempotency-Key must have 1 to 255 characters")
    with _body(streamed) as body:
        return _run_under(view, *_derive(key, caller, body), optimistic=optimistic)


def _run_under(
    view: Callable[[], Response], scope: str, fingerprint: str, secret: bytes, *, optimistic: bool
) -> Response:
    if optimistic:
        claim: Claim | Response = Claim(scope, fingerprint, secret, unseen=True)
    else:
        claim = _claim_or_answer(scope, fingerprint, secret)
    if isinstance(claim, Response):
        return claim
    try:
        return _first_run(view, claim)
    except _LostClaim:
        answer = _claim_or_answer(scope, fingerprint, secret)
        if isinstance(answer, Response):
            return answer
        return _first_run(view, answer)  # the winner rolled back meanwhile, or died and its lease is over


def _first_run(view: Callable[[], Response], claim: Claim) -> Response:
    current, beside = _current.set(claim), companion.set(claim)
    try:
        try:
            response = view()
        except AppError as refusal:
            if refusal.status in NOT_KEPT:
                raise
            response = problem_response(refusal)
        if not claim.answered:
            _keep_alone(claim, response)
        return response
    except _LostClaim:
        raise
    except Exception:
        companion.set(None)
        if claim.held:
            _release(claim)
        elif _taken(claim):
            raise _LostClaim from None  # the failure may well come from the work being there already
        raise
    finally:
        _current.reset(current)
        companion.reset(beside)


def _find(scope: str) -> Row[Any] | None:
    with db.engine.connect() as connection:
        return connection.execute(_LOOK_UP, {"of": scope}).first()


def _taken(claim: Claim) -> bool:
    try:
        return _find(claim.scope) is not None
    except SQLAlchemyError:
        return False


def _release(claim: Claim) -> None:
    try:
        claim.release()
    except Exception:
        log.warning("an idempotency key stays locked until its lease ends", exc_info=True)


def _keep_alone(claim: Claim, response: Response) -> None:
    claim.forget_sealed()
    with transaction():
        claim.keep(response)


def _claim_or_answer(scope: str, fingerprint: str, secret: bytes) -> Claim | Response:
    row = _find(scope)
    if row is None:
        return Claim(scope, fingerprint, secret)
    if row.created_at < clock.now() - KEPT:
        _forget(row)
        return Claim(scope, fingerprint, secret)
    if not hmac.compare_digest(row.fingerprint, fingerprint):
        raise IdempotencyKeyReused()
    claim = Claim(scope, fingerprint, secret, row)
    if row.answer is not None:
        return claim.open(row)
    if row.locked_until > clock.now() or not _take_over(row):
        raise RequestInProgress(retry_after=1)
    return claim


def _take_over(row: Row[Any]) -> bool:
    with transaction() as session:
        taken = session.execute(
            update(IdempotencyKey)
            .where(
                IdempotencyKey.scope == row.scope,
                IdempotencyKey.locked_until == row.locked_until,
                IdempotencyKey.status.is_(None),
            )
            .values(locked_until=clock.now() + LEASE)
        )
        return bool(taken.rowcount == 1)  # type: ignore[attr-defined]


def _forget(row: Row[Any]) -> None:
    with transaction() as session:
        session.execute(
            delete(IdempotencyKey).where(
                IdempotencyKey.scope == row.scope, IdempotencyKey.created_at == row.created_at
            )
        )


def _derive(key: str, caller: str, body: bytes) -> tuple[str, str, bytes]:
    """Scope (hash of who, what and key), fingerprint of query and body, and the secret that seals the answer."""
    scope = hashlib.sha256("\n".join((caller, request.method, request.path, key)).encode()).hexdigest()
    asked = body
    if request.query_string:
        query = urlencode(sorted(request.args.items(multi=True)))
        asked = f"query\n{query}\n".encode() + body
    fingerprint = hmac.new(key.encode(), b"body\n" + asked, hashlib.sha256).hexdigest()
    secret = hmac.new(key.encode(), b"answer\n" + body, hashlib.sha256).digest()
    return scope, fingerprint, secret


@contextmanager
def _body(streamed: bool) -> Iterator[bytes]:
    """What tells the body from another one. A streamed one goes through a file, from which the view then reads it."""
    if not streamed:
        yield _canonical(request.get_data(cache=True))
        return
    with tempfile.TemporaryFile() as spool:
        digest = hashlib.sha256()
        while piece := request.stream.read(1 << 16):
            digest.update(piece)
            spool.write(piece)
        spool.seek(0)
        request.stream = spool
        yield digest.digest()


def _canonical(raw: bytes) -> bytes:
    if request.mimetype != "application/json":
        return raw
    try:
        return orjson.dumps(orjson.loads(raw or b"{}"), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONDecodeError:
        return raw


def prune(session: Session, before: datetime) -> None:
    """Delete keys made before an instant (the worker's janitor does, 24 hours on)."""
    scopes = select(IdempotencyKey.scope).where(IdempotencyKey.created_at < before).limit(1000)
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.scope.in_(scopes)))
