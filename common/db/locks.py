"""Holding a name until commit, for what no unique key can guard: a value that is one row's in either of two tables."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session


def hold(session: Session, name: str) -> None:
    """Until this session commits nobody else holds the name. SQLite has one writer at a time as it is.

    The lock has two keys, so that it is none of those of leaders and migrations, which have one.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(func.hashtext("name"), func.hashtext(name))))
