"""Tables whose rows are only ever added: the database itself refuses everything else, on both of them."""

from alembic import op


def make_append_only(table: str, may_go: str | None = None) -> None:
    """Refuse UPDATE, DELETE and TRUNCATE of a table from now on. Called by migrations.

    Rows for which `may_go`, an SQL condition on OLD, holds may be deleted (those that were archived).
    """
    if op.get_bind().dialect.name == "sqlite":
        for verb, unless in (("UPDATE", ""), ("DELETE", f" WHEN NOT ({may_go})" if may_go else "")):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table}{unless} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
        return
    refuse = f"RAISE EXCEPTION '{table} is append-only' USING ERRCODE = 'restrict_violation'"
    op.execute(
        f"CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {refuse}; END $$"
    )
    verbs = "UPDATE OR TRUNCATE" if may_go else "UPDATE OR DELETE OR TRUNCATE"
    op.execute(
        f"CREATE TRIGGER {table}_append_only BEFORE {verbs} ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only()"
    )
    if may_go:
        op.execute(
            f"CREATE FUNCTION {table}_may_go() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN IF {may_go} THEN RETURN OLD; END IF; {refuse}; END $$"
        )
        op.execute(
            f"CREATE TRIGGER {table}_may_go BEFORE DELETE ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION {table}_may_go()"
        )


def allow_changes(table: str) -> None:
    """Undo `make_append_only`."""
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("update", "delete"):
            op.execute(f"DROP TRIGGER {table}_no_{verb}")
        return
    for name in (f"{table}_append_only", f"{table}_may_go"):
        op.execute(f"DROP TRIGGER IF EXISTS {name} ON {table}")
        op.execute(f"DROP FUNCTION IF EXISTS {name}()")
