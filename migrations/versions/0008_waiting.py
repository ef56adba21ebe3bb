"""waiting: when a run goes on, and what it waits for

Revision ID: 0008
Revises: 0007

"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("automation_runs", sa.Column("planned_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("automation_runs", sa.Column("waits_for", sa.String(length=80), nullable=True))
    waiting = sa.text("outcome = 'waiting'")
    op.create_index(
        "ix_automation_runs_waiting",
        "automation_runs",
        ["tenant_id", "record_type", "record_id"],
        sqlite_where=waiting,
        postgresql_where=waiting,
    )


def downgrade():
    op.drop_index("ix_automation_runs_waiting", "automation_runs")
    op.drop_column("automation_runs", "waits_for")
    op.drop_column("automation_runs", "planned_at")
