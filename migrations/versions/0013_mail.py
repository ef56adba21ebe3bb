"""mail: the account of a workspace, templates, and what was sent

Revision ID: 0013
Revises: 0012

"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

MINE = "tenant_id = nullif(current_setting('soconnective.tenant_id', true), '')::bigint"
TABLES = ("mail_accounts", "mail_templates", "mail_messages")


def upgrade():
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "mail_accounts",
        sa.Column("id", number, nullable=False),
        sa.Column("tenant_id", number, nullable=False),
        sa.Column("host", sa.String(length=253), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("security", sa.String(length=10), nullable=False),
        sa.Column("username", sa.String(length=254), nullable=True),
        sa.Column("from_address", sa.String(length=254), nullable=False),
        sa.Column("from_name", sa.String(length=120), nullable=True),
        sa.Column("hourly_cap", sa.Integer(), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("updated_at", moment, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("security IN ('none', 'starttls', 'tls')", name=op.f("ck_mail_accounts_security")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_mail_accounts_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail_accounts")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_mail_accounts_tenant_id_id")),
        sa.UniqueConstraint("tenant_id", name=op.f("uq_mail_accounts_tenant_id")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "mail_templates",
        sa.Column("id", number, nullable=False),
        sa.Column("tenant_id", number, nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("record_type", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=300), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("updated_at", moment, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_by_kind", sa.String(length=20), nullable=False),
        sa.Column("created_by_id", number, nullable=True),
        sa.Column("created_by_name", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_mail_templates_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail_templates")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_mail_templates_tenant_id_id")),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("uq_mail_templates_tenant_id_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "mail_messages",
        sa.Column("id", number, nullable=False),
        sa.Column("tenant_id", number, nullable=False),
        sa.Column("to_address", sa.String(length=254), nullable=False),
        sa.Column("to_name", sa.String(length=200), nullable=False),
        sa.Column("subject", sa.String(length=300), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("html", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("is_automatic", sa.Boolean(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("key", sa.String(length=120), nullable=False),
        sa.Column("message_id", sa.String(length=320), nullable=False),
        sa.Column("record_type", sa.String(length=40), nullable=True),
        sa.Column("record_id", number, nullable=True),
        sa.Column("addressee_type", sa.String(length=40), nullable=True),
        sa.Column("addressee_id", number, nullable=True),
        sa.Column("event_id", number, nullable=True),
        sa.Column("root_id", number, nullable=True),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("automation_id", number, nullable=True),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("tried_at", moment, nullable=True),
        sa.Column("sent_at", moment, nullable=True),
        sa.Column("created_by_kind", sa.String(length=20), nullable=False),
        sa.Column("created_by_id", number, nullable=True),
        sa.Column("created_by_name", sa.String(length=200), nullable=False),
        sa.CheckConstraint(
            "state IN ('queued', 'sent', 'failed', 'suppressed')", name=op.f("ck_mail_messages_state")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_mail_messages_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail_messages")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_mail_messages_tenant_id_id")),
        sa.UniqueConstraint("tenant_id", "key", name=op.f("uq_mail_messages_tenant_id_key")),
        sqlite_autoincrement=True,
    )
    for name, columns in (
        ("address", ["to_address", "created_at"]),
        ("created", ["created_at", "id"]),
        ("record", ["record_type", "record_id", "id"]),
        ("addressee", ["addressee_type", "addressee_id", "id"]),
        ("state", ["state", "id"]),
    ):
        op.create_index(f"ix_mail_messages_{name}", "mail_messages", ["tenant_id", *columns])
    if op.get_bind().dialect.name == "postgresql":
        for table in TABLES:
            op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
            op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
            op.execute(f"CREATE POLICY tenant ON {table} USING ({MINE}) WITH CHECK ({MINE})")


def downgrade():
    for table in reversed(TABLES):
        op.drop_table(table)
