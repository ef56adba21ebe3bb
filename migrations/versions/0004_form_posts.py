"""form posts: a form that is sent twice takes effect once

Revision ID: 0004
Revises: 0003

"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

MINE = "tenant_id = nullif(current_setting('soconnective.tenant_id', true), '')::bigint"


def upgrade():
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "form_posts",
        sa.Column("tenant_id", number, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", number, nullable=True),
        sa.Column("headers", sa.Text(), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_form_posts_tenant_id_tenants")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "digest", name=op.f("pk_form_posts")),
    )
    op.create_index(op.f("ix_form_posts_tenant_id_created_at"), "form_posts", ["tenant_id", "created_at"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE form_posts ENABLE ROW LEVEL SECURITY")
        op.execute("ALTER TABLE form_posts FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON form_posts USING ({MINE}) WITH CHECK ({MINE})")


def downgrade():
    op.drop_table("form_posts")
