"""turns: whose turn it is in rules that assign people one after the other

Revision ID: 0007
Revises: 0006

"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

MINE = "tenant_id = nullif(current_setting('soconnective.tenant_id', true), '')::bigint"


def upgrade():
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "automation_turns",
        sa.Column("id", number, nullable=False),
        sa.Column("tenant_id", number, nullable=False),
        sa.Column("automation_id", number, nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_automation_turns_tenant_id_tenants")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "automation_id"],
            ["automations.tenant_id", "automations.id"],
            name=op.f("fk_automation_turns_tenant_id_automation_id_automations"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_automation_turns")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_automation_turns_tenant_id_id")),
        sa.UniqueConstraint(
            "tenant_id", "automation_id", "name", name=op.f("uq_automation_turns_tenant_id_automation_id_name")
        ),
        sqlite_autoincrement=True,
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE automation_turns ENABLE ROW LEVEL SECURITY")
        op.execute("ALTER TABLE automation_turns FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON automation_turns USING ({MINE}) WITH CHECK ({MINE})")


def downgrade():
    op.drop_table("automation_turns")
