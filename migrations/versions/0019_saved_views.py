"""saved views: filters of lists that people keep

Revision ID: 0019
Revises: 0018

"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

MINE = "tenant_id = nullif(current_setting('soconnective.tenant_id', true), '')::bigint"


def one_of_a_name(name, where, *more):
    columns = ["tenant_id", "record_type", "normalised", *more]
    condition = sa.text(where)
    op.create_index(
        op.f(name), "saved_views", columns, unique=True, sqlite_where=condition, postgresql_where=condition
    )


def upgrade():
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "saved_views",
        sa.Column("id", number, nullable=False),
        sa.Column("tenant_id", number, nullable=False),
        sa.Column("record_type", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("normalised", sa.String(length=180), nullable=False),
        sa.Column("conditions", sa.Text(), nullable=False),
        sa.Column("sort", sa.String(length=40), nullable=True),
        sa.Column("owner_id", number, nullable=False),
        sa.Column("is_shared", sa.Boolean(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_saved_views_tenant_id_tenants")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "owner_id"],
            ["memberships.tenant_id", "memberships.user_id"],
            name=op.f("fk_saved_views_tenant_id_owner_id_memberships"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_views")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_saved_views_tenant_id_id")),
        sqlite_autoincrement=True,
    )
    one_of_a_name("uq_saved_views_shared", "is_shared")
    one_of_a_name("uq_saved_views_private", "NOT is_shared", "owner_id")
    op.create_index(op.f("ix_saved_views_list"), "saved_views", ["tenant_id", "record_type", "position"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE saved_views ENABLE ROW LEVEL SECURITY")
        op.execute("ALTER TABLE saved_views FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON saved_views USING ({MINE}) WITH CHECK ({MINE})")


def downgrade():
    op.drop_table("saved_views")
