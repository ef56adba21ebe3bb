"""tags: on contacts, companies and deals

Revision ID: 0010
Revises: 0009

"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

MINE = "tenant_id = nullif(current_setting('soconnective.tenant_id', true), '')::bigint"
LINKS = (
    ("contact_tags", "contact_id", "contacts"),
    ("company_tags", "company_id", "companies"),
    ("deal_tags", "deal_id", "deals"),
)


def upgrade():
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "tags",
        sa.Column("id", number, nullable=False),
        sa.Column("tenant_id", number, nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("normalised", sa.String(length=120), nullable=True),
        sa.Column("color", sa.String(length=20), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_tags_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tags")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_tags_tenant_id_id")),
        sa.UniqueConstraint("tenant_id", "normalised", name=op.f("uq_tags_tenant_id_normalised")),
        sqlite_autoincrement=True,
    )
    for table, column, record in LINKS:
        op.create_table(
            table,
            sa.Column("id", number, nullable=False),
            sa.Column("tenant_id", number, nullable=False),
            sa.Column("tag_id", number, nullable=False),
            sa.Column(column, number, nullable=False),
            sa.ForeignKeyConstraint(
                ["tenant_id"], ["tenants.id"], name=op.f(f"fk_{table}_tenant_id_tenants")
            ),
            sa.ForeignKeyConstraint(
                ["tenant_id", column],
                [f"{record}.tenant_id", f"{record}.id"],
                name=op.f(f"fk_{table}_tenant_id_{column}_{record}"),
            ),
            sa.ForeignKeyConstraint(
                ["tenant_id", "tag_id"],
                ["tags.tenant_id", "tags.id"],
                name=op.f(f"fk_{table}_tenant_id_tag_id_tags"),
            ),
            sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
            sa.UniqueConstraint("tenant_id", "id", name=op.f(f"uq_{table}_tenant_id_id")),
            sa.UniqueConstraint(
                "tenant_id", column, "tag_id", name=op.f(f"uq_{table}_tenant_id_{column}_tag_id")
            ),
            sqlite_autoincrement=True,
        )
        op.create_index(f"ix_{table}_tag", table, ["tenant_id", "tag_id", column])
    if op.get_bind().dialect.name == "postgresql":
        for table in ("tags", *(link[0] for link in LINKS)):
            op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
            op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
            op.execute(f"CREATE POLICY tenant ON {table} USING ({MINE}) WITH CHECK ({MINE})")


def downgrade():
    for table, _column, _record in reversed(LINKS):
        op.drop_index(f"ix_{table}_tag", table_name=table)
        op.drop_table(table)
    op.drop_table("tags")
