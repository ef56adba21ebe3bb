"""each code of the second factor works once

Revision ID: 0002
Revises: 0001

"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade():
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("users", sa.Column("tf_last_counter", number, nullable=True))


def downgrade():
    op.drop_column("users", "tf_last_counter")
