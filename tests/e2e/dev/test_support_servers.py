"""The servers that tests start are real, keep what they promise when stopped, and leave nothing behind."""

import psutil
import psycopg
import pytest
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


@pytest.mark.broker
def test_a_private_rabbit_comes_back_with_its_messages_and_leaves_no_process() -> None:
    with PrivateRabbit() as rabbit:
        assert broker.refusal(rabbit.url) is None
        assert broker.refusal(rabbit.url.replace("guest:guest", "guest:wrong")) == (
            "refuses the user or the password"
        )
        rabbit.kill()
        assert broker.refusal(rabbit.url) == "does not answer (AMQPConnectionError)"
        rabbit.start()
        assert broker.refusal(rabbit.url) is None
        home = str(rabbit.home)
    assert not rabbit.home.exists()
    assert not [p for p in psutil.process_iter(["environ"]) if (p.info["environ"] or {}).get("HOME") == home]
