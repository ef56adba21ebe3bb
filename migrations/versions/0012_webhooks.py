"""webhooks: endpoints and deliveries, hooks and calls

Revision ID: 0012
Revises: 0011

"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

MINE = "tenant_id = nullif(current_setting('soconnective.tenant_id', true), '')::bigint"
TABLES = ("webhook_endpoints", "webhook_deliveries", "webhook_hooks", "webhook_calls")


def upgrade():
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    json = sa.JSON(none_as_null=True).with_variant(sa.dialects.postgresql.JSONB(none_as_null=True), "postgresql")
    moment = sa.DateTime(timezone=True)

    def owned(table, *parts):
        op.create_table(
            table,
            sa.Column("id", number, nullable=False),
            sa.Column("tenant_id", number, nullable=False),
            *parts,
            sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f(f"fk_{table}_tenant_id_tenants")),
            sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
            sa.UniqueConstraint("tenant_id", "id", name=op.f(f"uq_{table}_tenant_id_id")),
            sqlite_autoincrement=True,
        )

    owned(
        "webhook_endpoints",
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("off_because", sa.Text(), nullable=False),
        sa.Column("deleted_at", moment, nullable=True),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("updated_at", moment, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
    )
    owned(
        "webhook_deliveries",
        sa.Column("endpoint_id", number, nullable=False),
        sa.Column("key", sa.String(length=120), nullable=False),
        sa.Column("event_name", sa.String(length=80), nullable=False),
        sa.Column("event_id", number, nullable=True),
        sa.Column("cause", sa.String(length=200), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("response_code", sa.Integer(), nullable=True),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("tried_at", moment, nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'delivered', 'failed')", name=op.f("ck_webhook_deliveries_state")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "endpoint_id"],
            ["webhook_endpoints.tenant_id", "webhook_endpoints.id"],
            name=op.f("fk_webhook_deliveries_tenant_id_endpoint_id_webhook_endpoints"),
        ),
        sa.UniqueConstraint("tenant_id", "key", name=op.f("uq_webhook_deliveries_tenant_id_key")),
    )
    op.create_index("ix_webhook_deliveries_endpoint", "webhook_deliveries", ["tenant_id", "endpoint_id", "id"])
    op.create_index("ix_webhook_deliveries_created", "webhook_deliveries", ["tenant_id", "created_at"])
    owned(
        "webhook_hooks",
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("token_digest", sa.String(length=64), nullable=False),
        sa.Column("id_path", sa.String(length=200), nullable=True),
        sa.Column("mapping", json, nullable=False),
        sa.Column("is_signed", sa.Boolean(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("deleted_at", moment, nullable=True),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("updated_at", moment, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.UniqueConstraint("tenant_id", "token_digest", name=op.f("uq_webhook_hooks_tenant_id_token_digest")),
    )
    owned(
        "webhook_calls",
        sa.Column("hook_id", number, nullable=False),
        sa.Column("external_id", sa.String(length=200), nullable=True),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("fields", json, nullable=False),
        sa.Column("contact_id", number, nullable=True),
        sa.Column("received_at", moment, nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "hook_id"],
            ["webhook_hooks.tenant_id", "webhook_hooks.id"],
            name=op.f("fk_webhook_calls_tenant_id_hook_id_webhook_hooks"),
        ),
        sa.UniqueConstraint(
            "tenant_id", "hook_id", "external_id", name=op.f("uq_webhook_calls_tenant_id_hook_id_external_id")
        ),
    )
    op.create_index("ix_webhook_calls_hook", "webhook_calls", ["tenant_id", "hook_id", "id"])
    op.create_index("ix_webhook_calls_received", "webhook_calls", ["tenant_id", "received_at"])
    if op.get_bind().dialect.name == "postgresql":
        for table in TABLES:
            op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
            op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
            op.execute(f"CREATE POLICY tenant ON {table} USING ({MINE}) WITH CHECK ({MINE})")


def downgrade():
    for table in reversed(TABLES):
        op.drop_table(table)
