"""webhook_refusals: calls of a hook that were not taken, and why

Revision ID: 0022
Revises: 0021

"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

MINE = "tenant_id = nullif(current_setting('soconnective.tenant_id', true), '')::bigint"


def upgrade():
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "webhook_refusals",
        sa.Column("id", number, nullable=False),
        sa.Column("tenant_id", number, nullable=False),
        sa.Column("hook_id", number, nullable=False),
        sa.Column("external_id", sa.String(length=200), nullable=True),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_webhook_refusals_tenant_id_tenants")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "hook_id"],
            ["webhook_hooks.tenant_id", "webhook_hooks.id"],
            name=op.f("fk_webhook_refusals_tenant_id_hook_id_webhook_hooks"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_refusals")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_webhook_refusals_tenant_id_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_webhook_refusals_hook", "webhook_refusals", ["tenant_id", "hook_id", "id"])
    op.create_index("ix_webhook_refusals_at", "webhook_refusals", ["tenant_id", "at"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE webhook_refusals ENABLE ROW LEVEL SECURITY")
        op.execute("ALTER TABLE webhook_refusals FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON webhook_refusals USING ({MINE}) WITH CHECK ({MINE})")


def downgrade():
    op.drop_table("webhook_refusals")
