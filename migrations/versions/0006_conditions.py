"""conditions: a rule looks only if they hold

Revision ID: 0006
Revises: 0005

"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade():
    json = sa.JSON(none_as_null=True).with_variant(sa.dialects.postgresql.JSONB(none_as_null=True), "postgresql")
    op.add_column("automations", sa.Column("conditions", json, nullable=True))


def downgrade():
    op.drop_column("automations", "conditions")  # SQLite drops one itself; a table made anew loses its references
