"""off_since: since when a rule does not look because a person said so, and what fell due meanwhile; replacements

Revision ID: 0022
Revises: 0020

"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0020"
branch_labels = None
depends_on = None

MINE = "tenant_id = nullif(current_setting('soconnective.tenant_id', true), '')::bigint"


def upgrade():
    op.add_column("automations", sa.Column("off_since", sa.DateTime(timezone=True), nullable=True))
    json = sa.JSON(none_as_null=True).with_variant(
        sa.dialects.postgresql.JSONB(none_as_null=True), "postgresql"
    )
    op.add_column("automations", sa.Column("gap", json, nullable=True))
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "automation_replacements",
        sa.Column("id", number, nullable=False),
        sa.Column("tenant_id", number, nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("old_id", number, nullable=False),
        sa.Column("new_id", number, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_automation_replacements_tenant_id_tenants")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_automation_replacements")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_automation_replacements_tenant_id_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_automation_replacements_at", "automation_replacements", ["tenant_id", "at"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE automation_replacements ENABLE ROW LEVEL SECURITY")
        op.execute("ALTER TABLE automation_replacements FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON automation_replacements USING ({MINE}) WITH CHECK ({MINE})")


def downgrade():
    op.drop_table("automation_replacements")
    op.drop_column("automations", "gap")
    op.drop_column("automations", "off_since")
