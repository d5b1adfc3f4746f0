"""The servers that tests start are real, keep what they promise when stopped, and leave nothing behind."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pika
import psutil
import psycopg
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from sqlalchemy import create_engine, text

from dev import broker
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
