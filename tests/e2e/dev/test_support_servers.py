"""The servers that tests start are real, keep what they promise when stopped, and leave nothing behind."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pika
import psutil
import psycopg
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from sqlalchemy import create_engine, make_url, text

from common import ids
from dev import broker
from tests.support.databases import Pristine
from tests.support.postgres import PostgresServer
from tests.support.rabbitmq import PrivateRabbit


def test_postgres_databases_are_separate_copies_of_their_template() -> None:
    with PostgresServer() as server:
        pid = server.pid
        template = create_engine(server.create_database("template_one"))
        with template.begin() as connection:
            connection.execute(text("CREATE TABLE t (n int)"))
        template.dispose()

        urls = [server.create_database(template="template_one") for _ in range(2)]
        engines = [create_engine(url) for url in urls]
        with engines[0].begin() as connection:
            connection.execute(text("INSERT INTO t VALUES (1)"))
        with engines[1].connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM t")) == 0
        for engine in engines:
            engine.dispose()
    assert not psutil.pid_exists(pid)
    assert not server.home.exists()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(host="127.0.0.1", port=server.port, user="postgres")


SCHEMA = """
CREATE TABLE kinds (name text PRIMARY KEY);
INSERT INTO kinds VALUES ('voice'), ('data');
CREATE TABLE uses (n serial PRIMARY KEY, kind text NOT NULL REFERENCES kinds);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'append-only'; END $$;
CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON uses FOR EACH STATEMENT EXECUTE FUNCTION refuse();
"""


@pytest.fixture
def pristine(postgres: PostgresServer) -> Pristine:
    url = postgres.create_database(f"template_{ids.new_id()}")
    with _connected(url) as connection:
        connection.execute(SCHEMA)
    return Pristine(postgres, str(make_url(url).database))


@contextmanager
def _connected(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


def _found(url: str) -> tuple[list[str], list[tuple[int, str]]]:
    """The kinds, and what becomes of a use of one."""
    with _connected(url) as connection:
        kinds = [name for (name,) in connection.execute("SELECT name FROM kinds ORDER BY name")]
        return kinds, connection.execute(
            "INSERT INTO uses (kind) VALUES ('data') RETURNING n, kind"
        ).fetchall()


def test_a_database_given_back_is_given_on_as_new_whoever_was_still_in_it(pristine: Pristine) -> None:
    used = pristine.take()
    with _connected(used) as left, pytest.raises(psycopg.OperationalError):
        left.execute("INSERT INTO kinds VALUES ('more'); INSERT INTO uses (kind) VALUES ('more'), ('voice')")
        left.execute("DELETE FROM kinds WHERE name = 'data'")
        left.execute("BEGIN; LOCK TABLE kinds")
        pristine.give_back(used)
        left.execute("SELECT 1")
    again, other = pristine.take(), pristine.take()
    assert again == used != other
    assert _found(again) == _found(other) == (["data", "voice"], [(1, "data")])


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE uses DISABLE TRIGGER kept",
        "ALTER TABLE kinds ADD more int",
        "DROP TABLE uses",
        "CREATE TABLE t ()",
    ],
)
def test_a_database_whose_schema_was_changed_is_not_given_on(pristine: Pristine, change: str) -> None:
    used = pristine.take()
    with _connected(used) as connection:
        connection.execute(change)
    pristine.give_back(used)
    fresh = pristine.take()
    assert fresh != used
    assert _found(fresh) == (["data", "voice"], [(1, "data")])
    with pytest.raises(psycopg.OperationalError), _connected(used):
        pass


DURABLE = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)


@contextmanager
def _channel(url: str) -> Iterator[BlockingChannel]:
    """A channel with confirms on which the durable queue `kept` is declared."""
    with closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("kept", durable=True)
        yield channel


@pytest.mark.broker
def test_a_private_rabbit_comes_back_with_its_messages_and_leaves_no_process() -> None:
    with PrivateRabbit() as rabbit:
        assert broker.refusal(rabbit.url) is None
        assert broker.refusal(rabbit.url.replace("guest:guest", "guest:wrong")) == (
            "refuses the user or the password"
        )
        with _channel(rabbit.url) as channel:
            channel.basic_publish("", "kept", b"hello", DURABLE)
        rabbit.stop()
        assert broker.refusal(rabbit.url) == "does not answer (AMQPConnectionError)"
        rabbit.start()
        with _channel(rabbit.url) as channel:
            assert channel.basic_get("kept", auto_ack=True)[2] == b"hello"
        home = str(rabbit.home)
    assert not rabbit.home.exists()
    assert not [p for p in psutil.process_iter(["environ"]) if (p.info["environ"] or {}).get("HOME") == home]
