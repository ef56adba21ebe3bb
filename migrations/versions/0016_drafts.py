"""drafts: what a rule will do once it is published; steps that are switched off, and notes on steps

Revision ID: 0016
Revises: 0015

"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

MINE = "tenant_id = nullif(current_setting('soconnective.tenant_id', true), '')::bigint"


def upgrade():
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("automation_steps", sa.Column("is_off", sa.Boolean(), nullable=True))
    op.add_column("automation_steps", sa.Column("note", sa.String(length=500), nullable=True))
    op.create_table(
        "automation_drafts",
        sa.Column("id", number, nullable=False),
        sa.Column("tenant_id", number, nullable=False),
        sa.Column("automation_id", number, nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("saved_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("saved_by_kind", sa.String(length=20), nullable=False),
        sa.Column("saved_by_id", number, nullable=True),
        sa.Column("saved_by_name", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_automation_drafts_tenant_id_tenants")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "automation_id"],
            ["automations.tenant_id", "automations.id"],
            name=op.f("fk_automation_drafts_tenant_id_automation_id_automations"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_automation_drafts")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_automation_drafts_tenant_id_id")),
        sa.UniqueConstraint(
            "tenant_id", "automation_id", name=op.f("uq_automation_drafts_tenant_id_automation_id")
        ),
        sqlite_autoincrement=True,
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE automation_drafts ENABLE ROW LEVEL SECURITY")
        op.execute("ALTER TABLE automation_drafts FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON automation_drafts USING ({MINE}) WITH CHECK ({MINE})")


def downgrade():
    op.drop_table("automation_drafts")
    op.drop_column("automation_steps", "note")
    op.drop_column("automation_steps", "is_off")
