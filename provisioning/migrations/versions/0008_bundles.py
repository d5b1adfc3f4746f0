"""bundles: several services of one order

Revision: 0008, after 0007, 2026-11-21 15:35:00
"""

import re

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

UNIQUE = re.compile(r",\s*CONSTRAINT uq_services_order_id UNIQUE \(order_id\)")
TABLES = ("services", "commands", "command_attempts")
"""The table that loses its key and those that refer to it, in the order in which they refer to each other."""


def upgrade() -> None:
    with op.batch_alter_table("offerings", schema=None) as batch_op:
        batch_op.add_column(sa.Column("bundles", sa.JSON(), server_default="[]", nullable=False))
    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.add_column(sa.Column("bundled", sa.JSON(), server_default="[]", nullable=False))
    if op.get_bind().dialect.name == "sqlite":
        _rebuild_without_key()
    else:
        op.drop_constraint("uq_services_order_id", "services", type_="unique")
    op.create_index("ix_services_order_id", "services", ["order_id"])


def _rebuild_without_key() -> None:
    """SQLite drops no constraint, and no table that others refer to: all three are made anew beside the old ones."""
    bind = op.get_bind()
    tables = bind.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE type = 'table'")).all()
    made = {row.name: row.sql for row in tables}
    indexes = bind.execute(
        sa.text("SELECT tbl_name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
    ).all()
    for table in TABLES:
        statement = UNIQUE.sub("", made[table], count=1)
        for name in TABLES:
            statement = re.sub(rf'(CREATE TABLE|REFERENCES) "?{name}"?', rf"\1 new_{name}", statement)
        op.execute(statement)
        op.execute(f"INSERT INTO new_{table} SELECT * FROM {table}")  # noqa: S608 (names of ours)
    for table in reversed(TABLES):
        op.drop_table(table)
    for table in TABLES:
        op.rename_table(f"new_{table}", table)
    for table, statement in indexes:
        if table in TABLES:
            op.execute(statement)


def downgrade() -> None:
    """The key does not come back: there may be bundles."""
    op.drop_index("ix_services_order_id", "services")
    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.drop_column("bundled")
    with op.batch_alter_table("offerings", schema=None) as batch_op:
        batch_op.drop_column("bundles")
