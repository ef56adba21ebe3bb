"""secrets: what is kept sealed

Revision ID: 0009
Revises: 0008

"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

MINE = "tenant_id = nullif(current_setting('soconnective.tenant_id', true), '')::bigint"


def upgrade():
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "secrets",
        sa.Column("id", number, nullable=False),
        sa.Column("tenant_id", number, nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_secrets_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_secrets")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_secrets_tenant_id_id")),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("uq_secrets_tenant_id_name")),
        sqlite_autoincrement=True,
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE secrets ENABLE ROW LEVEL SECURITY")
        op.execute("ALTER TABLE secrets FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON secrets USING ({MINE}) WITH CHECK ({MINE})")


def downgrade():
    op.drop_table("secrets")
