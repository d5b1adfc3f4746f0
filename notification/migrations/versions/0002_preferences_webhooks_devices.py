"""preferences, webhooks, devices

Revision: 0002, after 0001, 2026-11-21 13:04:28.046780
"""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import op

import common.db.types

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "devices",
        sa.Column(
            "id",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "user_id",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("endpoint", sa.String(length=1000), nullable=False),
        sa.Column("endpoint_hash", sa.String(length=64), nullable=False),
        sa.Column("p256dh", sa.String(length=100), nullable=False),
        sa.Column("auth", sa.String(length=40), nullable=False),
        sa.Column("created_at", common.db.types.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_devices")),
        sa.UniqueConstraint("endpoint_hash", name=op.f("uq_devices_endpoint_hash")),
    )
    with op.batch_alter_table("devices", schema=None) as batch_op:
        batch_op.create_index("ix_devices_user", ["user_id", "id"], unique=False)

    op.create_table(
        "preferences",
        sa.Column(
            "user_id",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "language",
            sa.Enum("en", "si", "ta", name="language", native_enum=False, length=32),
            nullable=True,
        ),
        sa.Column("switched_off", sa.JSON(), nullable=False),
        sa.Column("quiet_from", sa.String(length=5), nullable=True),
        sa.Column("quiet_until", sa.String(length=5), nullable=True),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("updated_at", common.db.types.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_preferences")),
    )
    op.create_table(
        "webhooks",
        sa.Column(
            "id",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "user_id",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("url", sa.String(length=1000), nullable=False),
        sa.Column("secret", sa.String(length=80), nullable=False),
        sa.Column("event_types", sa.JSON(), nullable=False),
        sa.Column("description", sa.String(length=200), nullable=False),
        sa.Column("created_at", common.db.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("failing_since", common.db.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("disabled_at", common.db.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("disabled_reason", sa.String(length=50), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
    )
    with op.batch_alter_table("webhooks", schema=None) as batch_op:
        batch_op.create_index("ix_webhooks_user", ["user_id", "id"], unique=False)

    with _attempts_aside(), op.batch_alter_table("deliveries", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "target",
                sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
                server_default="",
                nullable=False,
            )
        )
        batch_op.add_column(
            sa.Column("expires_at", common.db.types.UtcDateTime(timezone=True), nullable=True)
        )
        batch_op.add_column(
            sa.Column("retried_at", common.db.types.UtcDateTime(timezone=True), nullable=True)
        )
        batch_op.drop_constraint(batch_op.f("uq_deliveries_event_id_channel_user_id"), type_="unique")
        batch_op.create_index("ix_deliveries_state", ["state", "id"], unique=False)
        batch_op.create_index(
            "ix_deliveries_target",
            ["target", "id"],
            unique=False,
            postgresql_where=sa.text("target <> ''"),
            sqlite_where=sa.text("target <> ''"),
        )
        batch_op.create_unique_constraint(
            batch_op.f("uq_deliveries_event_id_channel_user_id_target"),
            ["event_id", "channel", "user_id", "target"],
        )

    with op.batch_alter_table("delivery_attempts", schema=None) as batch_op:
        batch_op.create_index(
            "ix_delivery_attempts_reference",
            ["provider_reference"],
            unique=False,
            postgresql_where=sa.text("provider_reference IS NOT NULL"),
            sqlite_where=sa.text("provider_reference IS NOT NULL"),
        )

    with op.batch_alter_table("recipients", schema=None) as batch_op:
        batch_op.add_column(sa.Column("unsubscribe_token", sa.String(length=40), nullable=True))
        batch_op.create_index("ix_recipients_phone", ["phone"], unique=False)
        batch_op.create_unique_constraint(
            batch_op.f("uq_recipients_unsubscribe_token"), ["unsubscribe_token"]
        )


@contextmanager
def _attempts_aside() -> Iterator[None]:
    """SQLite changes a constraint by making the table anew, and refuses to drop the old one while rows refer to it."""
    if op.get_bind().dialect.name != "sqlite":
        yield
        return
    op.execute("CREATE TEMPORARY TABLE kept AS SELECT * FROM delivery_attempts")
    op.execute("DELETE FROM delivery_attempts")
    yield
    op.execute("INSERT INTO delivery_attempts SELECT * FROM kept")
    op.execute("DROP TABLE kept")


def downgrade() -> None:
    with op.batch_alter_table("recipients", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("uq_recipients_unsubscribe_token"), type_="unique")
        batch_op.drop_index("ix_recipients_phone")
        batch_op.drop_column("unsubscribe_token")

    with op.batch_alter_table("delivery_attempts", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_delivery_attempts_reference",
            postgresql_where=sa.text("provider_reference IS NOT NULL"),
            sqlite_where=sa.text("provider_reference IS NOT NULL"),
        )

    with _attempts_aside(), op.batch_alter_table("deliveries", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("uq_deliveries_event_id_channel_user_id_target"), type_="unique")
        batch_op.drop_index(
            "ix_deliveries_target",
            postgresql_where=sa.text("target <> ''"),
            sqlite_where=sa.text("target <> ''"),
        )
        batch_op.drop_index("ix_deliveries_state")
        batch_op.create_unique_constraint(
            batch_op.f("uq_deliveries_event_id_channel_user_id"), ["event_id", "channel", "user_id"]
        )
        batch_op.drop_column("retried_at")
        batch_op.drop_column("expires_at")
        batch_op.drop_column("target")

    with op.batch_alter_table("webhooks", schema=None) as batch_op:
        batch_op.drop_index("ix_webhooks_user")

    op.drop_table("webhooks")
    op.drop_table("preferences")
    with op.batch_alter_table("devices", schema=None) as batch_op:
        batch_op.drop_index("ix_devices_user")

    op.drop_table("devices")
