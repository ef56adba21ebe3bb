"""off_since: since when a rule does not look because a person said so, and what fell due meanwhile

Revision ID: 0022
Revises: 0018

"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("automations", sa.Column("off_since", sa.DateTime(timezone=True), nullable=True))
    json = sa.JSON(none_as_null=True).with_variant(
        sa.dialects.postgresql.JSONB(none_as_null=True), "postgresql"
    )
    op.add_column("automations", sa.Column("gap", json, nullable=True))


def downgrade():
    op.drop_column("automations", "gap")
    op.drop_column("automations", "off_since")
