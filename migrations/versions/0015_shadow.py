"""shadow: rules that only say what they would do, and rules that go over what there is already

Revision ID: 0015
Revises: 0014

"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

MINE = "tenant_id = nullif(current_setting('soconnective.tenant_id', true), '')::bigint"
TABLES = ("automation_sweeps", "automation_sweep_rows")


def upgrade():
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    json = sa.JSON(none_as_null=True).with_variant(sa.dialects.postgresql.JSONB(none_as_null=True), "postgresql")
    op.add_column("automations", sa.Column("is_shadow", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index("ix_events_name", "events", ["tenant_id", "name", "id"])
    op.create_table(
        "automation_sweeps",
        sa.Column("id", number, nullable=False),
        sa.Column("tenant_id", number, nullable=False),
        sa.Column("automation_id", number, nullable=True),
        sa.Column("what", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("asked", sa.String(length=80), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("last_id", number, nullable=False),
        sa.Column("until_id", number, nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("counts", json, nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_by_kind", sa.String(length=20), nullable=False),
        sa.Column("created_by_id", number, nullable=True),
        sa.Column("created_by_name", sa.String(length=200), nullable=False),
        sa.CheckConstraint("what IN ('backtest', 'apply')", name=op.f("ck_automation_sweeps_what")),
        sa.CheckConstraint(
            "state IN ('running', 'done', 'cancelled', 'failed')", name=op.f("ck_automation_sweeps_state")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_automation_sweeps_tenant_id_tenants")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "automation_id"],
            ["automations.tenant_id", "automations.id"],
            name=op.f("fk_automation_sweeps_tenant_id_automation_id_automations"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_automation_sweeps")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_automation_sweeps_tenant_id_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_automation_sweeps_automation", "automation_sweeps", ["tenant_id", "automation_id", "id"])
    op.create_table(
        "automation_sweep_rows",
        sa.Column("id", number, nullable=False),
        sa.Column("tenant_id", number, nullable=False),
        sa.Column("sweep_id", number, nullable=False),
        sa.Column("event_id", number, nullable=False),
        sa.Column("record_type", sa.String(length=40), nullable=False),
        sa.Column("record_id", number, nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("trace", json, nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_automation_sweep_rows_tenant_id_tenants")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "sweep_id"],
            ["automation_sweeps.tenant_id", "automation_sweeps.id"],
            name=op.f("fk_automation_sweep_rows_tenant_id_sweep_id_automation_sweeps"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_automation_sweep_rows")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_automation_sweep_rows_tenant_id_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_automation_sweep_rows_outcome", "automation_sweep_rows", ["tenant_id", "sweep_id", "outcome", "id"]
    )
    if op.get_bind().dialect.name == "postgresql":
        for table in TABLES:
            op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
            op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
            op.execute(f"CREATE POLICY tenant ON {table} USING ({MINE}) WITH CHECK ({MINE})")


def downgrade():
    for table in reversed(TABLES):
        op.drop_table(table)
    op.drop_index("ix_events_name", "events")
    op.drop_column("automations", "is_shadow")
