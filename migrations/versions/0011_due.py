"""due: what rules that no change starts wait for, and the business hours

Revision ID: 0011
Revises: 0010

"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

MINE = "tenant_id = nullif(current_setting('soconnective.tenant_id', true), '')::bigint"


def upgrade():
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    json = sa.JSON(none_as_null=True).with_variant(sa.dialects.postgresql.JSONB(none_as_null=True), "postgresql")
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "automation_due",
        sa.Column("id", number, nullable=False),
        sa.Column("tenant_id", number, nullable=False),
        sa.Column("automation_id", number, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("record_type", sa.String(length=40), nullable=False),
        sa.Column("record_id", number, nullable=False),
        sa.Column("due_value", sa.String(length=40), nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("planned_at", moment, nullable=False),
        sa.Column("fired_at", moment, nullable=True),
        sa.CheckConstraint("state IN ('planned', 'taken', 'fired')", name=op.f("ck_automation_due_state")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_automation_due_tenant_id_tenants")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "automation_id"],
            ["automations.tenant_id", "automations.id"],
            name=op.f("fk_automation_due_tenant_id_automation_id_automations"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_automation_due")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_automation_due_tenant_id_id")),
        sa.UniqueConstraint(
            "tenant_id",
            "automation_id",
            "record_type",
            "record_id",
            "due_value",
            name="uq_automation_due_value",
        ),
        sqlite_autoincrement=True,
    )
    planned, live = sa.text("state = 'planned'"), sa.text("state <> 'fired'")
    op.create_index(
        "ix_automation_due_next",
        "automation_due",
        ["tenant_id", "at", "id"],
        sqlite_where=planned,
        postgresql_where=planned,
    )
    op.create_index(
        "uq_automation_due_live",
        "automation_due",
        ["tenant_id", "automation_id", "record_type", "record_id"],
        unique=True,
        sqlite_where=live,
        postgresql_where=live,
    )
    op.create_index("ix_automation_due_fired", "automation_due", ["tenant_id", "state", "fired_at"])
    op.create_table(
        "business_hours",
        sa.Column("id", number, nullable=False),
        sa.Column("tenant_id", number, nullable=False),
        sa.Column("opening", json, nullable=False),
        sa.Column("country", sa.String(length=2), nullable=False),
        sa.Column("subdivision", sa.String(length=20), nullable=False),
        sa.Column("closed", json, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("updated_at", moment, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_business_hours_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_business_hours")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_business_hours_tenant_id_id")),
        sa.UniqueConstraint("tenant_id", name=op.f("uq_business_hours_tenant_id")),
        sqlite_autoincrement=True,
    )
    if op.get_bind().dialect.name == "postgresql":
        for table in ("automation_due", "business_hours"):
            op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
            op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
            op.execute(f"CREATE POLICY tenant ON {table} USING ({MINE}) WITH CHECK ({MINE})")


def downgrade():
    op.drop_table("business_hours")
    op.drop_table("automation_due")
