"""attempts: what was said of the rules with a change; a run that was taken back

Revision ID: 0018
Revises: 0010

"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("events", sa.Column("rules", sa.String(length=10), nullable=False, server_default="run"))
    op.add_column("automation_runs", sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("automation_runs", sa.Column("asked_by", sa.String(length=200), nullable=True))


def downgrade():
    op.drop_column("automation_runs", "asked_by")
    op.drop_column("automation_runs", "undone_at")
    op.drop_column("events", "rules")
