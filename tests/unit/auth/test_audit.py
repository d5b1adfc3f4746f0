"""The audit trail: complete, in one chain, only ever growing."""

import gzip
import importlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_migrate import downgrade
from flask_migrate import upgrade as migrate
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from auth import archive
from auth.handlers import AUDIT_HANDLERS
from auth.models import AuditArchive, AuditEntry, AuditHead
from auth.use_cases.audit import Client, record_act, verify_chain
from common import clock, ids
from common.db import db, reading, transaction
from tests.support.accounts import login, register, staff
from tests.support.services import an_event


def record(count: int = 1, action: str = "test.act") -> None:
    for _ in range(count):
        with transaction() as session:
            record_act(session, action, user_id=ids.new_id(), client=Client("203.0.113.9"), data={"n": 1})


def untied() -> None:
    """As somebody with all rights on the database would: take the guards away."""
    module = importlib.import_module("alembic.migration")
    from alembic.operations import Operations

    from common.db.append_only import allow_changes

    with transaction() as session:
        context = module.MigrationContext.configure(session.connection())
        with Operations.context(context):
            allow_changes("audit_log")


def test_events_and_acts_stand_in_one_chain(client: FlaskClient) -> None:
    me = register(client)
    login(client)
    login(client, "not it")
    with transaction() as session:
        AUDIT_HANDLERS["#"](
            session, an_event("payment.completed", me.id, {"payment_id": "x", "code": "123456"})
        )
    verdict = verify_chain()
    assert (verdict.entries, verdict.broken_at) == (3, None)
    with reading() as session:
        found = session.scalars(select(AuditEntry).order_by(AuditEntry.seq)).all()
    assert [entry.action for entry in found] == ["login.succeeded", "login.failed", "payment.completed"]
    assert [entry.seq for entry in found] == [1, 2, 3]
    assert found[1].previous_hash == found[0].hash
    assert found[2].data == {"payment_id": "x"}


def test_the_chain_is_right_when_many_add_to_it_at_once(app: Flask) -> None:
    def work(_: int) -> None:
        with app.app_context():
            record(5)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    verdict = verify_chain()
    assert (verdict.entries, verdict.last_seq, verdict.broken_at) == (40, 40, None)


def test_the_database_refuses_to_change_or_delete_an_entry(app: Flask) -> None:
    record(2)
    for statement in (
        update(AuditEntry).values(action="nothing"),
        delete(AuditEntry),
        delete(AuditEntry).where(AuditEntry.seq == 1),
    ):
        with pytest.raises(DBAPIError, match="append-only"), transaction() as session:
            session.execute(statement)
    assert verify_chain().entries == 2


@pytest.mark.parametrize(
    ("crime", "broken_at"),
    [
        ("UPDATE audit_log SET action = 'harmless' WHERE seq = 3", 3),
        ("UPDATE audit_log SET recorded_at = happened_at, ip = NULL WHERE seq = 2", 2),
        ("DELETE FROM audit_log WHERE seq = 3", 3),
        ("DELETE FROM audit_log WHERE seq = 1", 1),
        ("DELETE FROM audit_log WHERE seq = 5", 5),
        ("UPDATE audit_log SET previous_hash = hash WHERE seq = 4", 4),
        ("UPDATE audit_log SET seq = NULL WHERE seq = 5", 5),
        ("UPDATE audit_head SET hash = 'x'", 5),
    ],
)
def test_tampering_is_found_at_the_entry(app: Flask, client: FlaskClient, crime: str, broken_at: int) -> None:
    record(5)
    untied()
    with transaction() as session:
        session.execute(text(crime))
    assert verify_chain().broken_at == broken_at
    done = app.test_cli_runner().invoke(args=["audit-verify"])
    assert done.exit_code == 1
    assert f"broken at {broken_at}" in done.output


def test_a_long_chain_is_verified_a_stretch_at_a_time(client: FlaskClient) -> None:
    headers = staff(client, "admin").headers
    record(7)

    def verify(from_seq: int, limit: int = 3) -> Any:
        query = {"from_seq": from_seq, "limit": limit}
        return client.get("/api/auth/admin/audit-log/verify", query_string=query, headers=headers).json

    stretches = [verify(seq) for seq in (1, 4, 7)]
    assert [(each["entries"], each["next_seq"]) for each in stretches] == [(3, 4), (3, 7), (2, None)]
    assert all(each["valid"] and each["last_seq"] == 8 for each in stretches)
    assert (verify(1000)["valid"], verify(1000)["entries"]) == (True, 0)
    untied()
    for crime, broken_at in (
        ("UPDATE audit_log SET action = 'harmless' WHERE seq = 6", 6),
        ("UPDATE audit_log SET hash = 'x' WHERE seq = 3", 4),
        ("DELETE FROM audit_log WHERE seq = 8", 8),
    ):
        with transaction() as session:
            session.execute(text(crime))
        found = [verify(seq)["broken_at"] for seq in (1, 4, 7)]
        assert broken_at in found, crime
    assert client.get("/api/auth/admin/audit-log/verify?limit=50001", headers=headers).status_code == 422


def test_an_admin_queries_and_verifies_it(client: FlaskClient) -> None:
    me, admin = register(client), staff(client, "admin")
    login(client, "not it")
    headers = admin.headers

    def actions(**query: str) -> list[str]:
        answer = client.get("/api/auth/admin/audit-log", query_string=query, headers=headers)
        assert answer.status_code == 200, answer.text
        return [item["action"] for item in answer.json["items"]]

    assert actions(user_id=me.id) == ["login.failed"]
    assert actions(action="login.succeeded") == ["login.succeeded"]
    assert actions(action="login.*") == ["login.failed", "login.succeeded"]
    assert actions(**{"from": clock.rfc3339(clock.now() + timedelta(hours=1))}) == []
    assert len(actions(to=clock.rfc3339(clock.now()), limit="1")) == 1
    assert client.get("/api/auth/admin/audit-log?from=yesterday", headers=headers).status_code == 422
    far = "9999-12-31T23:59:59-10:00"
    assert (
        client.get("/api/auth/admin/audit-log", query_string={"to": far}, headers=headers).status_code == 422
    )
    verdict = client.get("/api/auth/admin/audit-log/verify", headers=headers).json
    assert (verdict["valid"], verdict["entries"]) == (True, 2)


def test_whole_months_go_to_files_that_prove_their_place(app: Flask, tmp_path: Path) -> None:
    with clock.frozen(datetime(2019, 10, 5, tzinfo=UTC)):
        record(3)
        clock.move(timedelta(days=30))
        record(2)
        clock.move(timedelta(days=90))
        record(1)  # in February 2020, the oldest of the seven years that stay
        clock.move(timedelta(days=31 * 86 - 90))
        record(3)
        done = app.test_cli_runner().invoke(args=["audit-archive"])
        assert done.exit_code == 0, done.output
    folder = tmp_path / "audit"
    files = sorted(folder.iterdir())
    assert [path.name for path in files] == ["audit-2019-10-1.jsonl.gz", "audit-2019-11-4.jsonl.gz"]
    heads = [archive.verify_file(path) for path in files]
    assert heads[1]["previous_hash"] == heads[0]["last_hash"]
    verdict = verify_chain()
    assert (verdict.entries, verdict.first_seq, verdict.last_seq, verdict.broken_at) == (4, 6, 9, None)
    assert "hold" in app.test_cli_runner().invoke(args=["audit-verify", "--archive", str(files[0])]).output
    with reading() as session:
        assert len(session.scalars(select(AuditArchive)).all()) == 2
    with pytest.raises(DBAPIError, match="append-only"), transaction() as session:
        session.execute(delete(AuditEntry).where(AuditEntry.seq == 6))


def test_a_changed_archive_is_found(app: Flask, tmp_path: Path) -> None:
    with clock.frozen(datetime(2019, 10, 5, tzinfo=UTC)):
        record(3)
    archive.archive_before(datetime(2020, 1, 1, tzinfo=UTC), tmp_path / "audit")
    (path,) = (tmp_path / "audit").iterdir()
    lines = gzip.decompress(path.read_bytes()).splitlines()
    for changed in (
        [lines[0], lines[1].replace(b"test.act", b"best.act"), *lines[2:]],
        lines[:-1],
        [lines[0], *lines[2:]],
    ):
        path.write_bytes(gzip.compress(b"\n".join(changed)))
        with pytest.raises(ValueError, match=r"broken|missing"):
            archive.verify_file(path)


def test_an_archiving_that_died_after_its_file_is_done_again(
    app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with clock.frozen(datetime(2019, 10, 5, tzinfo=UTC)):
        record(3)
    limit = datetime(2020, 1, 1, tzinfo=UTC)

    def die() -> None:
        raise SystemExit

    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(archive, "transaction", die)
        archive.archive_before(limit, tmp_path / "audit")
    assert verify_chain().entries == 3
    assert len(archive.archive_before(limit, tmp_path / "audit")) == 1
    assert verify_chain().entries == 0


def test_the_present_month_stays(app: Flask) -> None:
    record(1)
    done = app.test_cli_runner().invoke(args=["audit-archive", "--before", "2999-01"])
    assert done.exit_code == 1
    assert app.test_cli_runner().invoke(args=["audit-archive", "--before", "soon"]).exit_code == 1
    assert verify_chain().entries == 1


def test_entries_of_the_first_release_are_chained_by_the_migration(app: Flask) -> None:
    downgrade(revision="0001")
    now = clock.now()
    with transaction() as session:
        log = AuditEntry.__table__
        names = [column.name for column in log.columns if not column.nullable]
        rows = [
            dict.fromkeys(names, "x")
            | {"id": ids.new_id(), "event_id": ids.new_id(), "data": {"b": 1, "a": "ශ්‍රී"}}
            | {"happened_at": now, "recorded_at": now}
            for _ in range(3)
        ]
        session.execute(insert(log).values(rows[0]))
        session.execute(insert(log).values(rows[1]))
        session.execute(insert(log).values(rows[2]))
    db.engine.dispose()
    migrate()
    record(1)
    assert (verify_chain().entries, verify_chain().broken_at) == (4, None)
    with reading() as session:
        assert session.get_one(AuditHead, 1).seq == 4
    assert orjson.dumps(verify_chain().last_hash)
