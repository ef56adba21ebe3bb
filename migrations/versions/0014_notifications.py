"""notifications, what each person wants of them, and rules that were paused

Revision ID: 0014
Revises: 0013

"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

MINE = "tenant_id = nullif(current_setting('soconnective.tenant_id', true), '')::bigint"
TABLES = ("notifications", "notification_choices")


def upgrade():
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "notifications",
        sa.Column("id", number, nullable=False),
        sa.Column("tenant_id", number, nullable=False),
        sa.Column("person_id", number, nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("record_type", sa.String(length=40), nullable=True),
        sa.Column("record_id", number, nullable=True),
        sa.Column("key", sa.String(length=120), nullable=True),
        sa.Column("is_shown", sa.Boolean(), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("read_at", moment, nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "person_id"],
            ["memberships.tenant_id", "memberships.user_id"],
            name=op.f("fk_notifications_tenant_id_person_id_memberships"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_notifications_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_notifications_tenant_id_id")),
        sa.UniqueConstraint("tenant_id", "person_id", "key", name=op.f("uq_notifications_tenant_id_person_id_key")),
        sqlite_autoincrement=True,
    )
    unread = sa.text("read_at IS NULL AND is_shown")
    op.create_index(
        "ix_notifications_unread",
        "notifications",
        ["tenant_id", "person_id", "id"],
        sqlite_where=unread,
        postgresql_where=unread,
    )
    op.create_index("ix_notifications_person", "notifications", ["tenant_id", "person_id", "is_shown", "id"])
    op.create_index("ix_notifications_created", "notifications", ["tenant_id", "created_at"])
    op.create_table(
        "notification_choices",
        sa.Column("id", number, nullable=False),
        sa.Column("tenant_id", number, nullable=False),
        sa.Column("person_id", number, nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("in_app", sa.Boolean(), nullable=False),
        sa.Column("by_mail", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "person_id"],
            ["memberships.tenant_id", "memberships.user_id"],
            name=op.f("fk_notification_choices_tenant_id_person_id_memberships"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_notification_choices_tenant_id_tenants")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification_choices")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_notification_choices_tenant_id_id")),
        sa.UniqueConstraint(
            "tenant_id", "person_id", "kind", name=op.f("uq_notification_choices_tenant_id_person_id_kind")
        ),
        sqlite_autoincrement=True,
    )
    op.add_column("automations", sa.Column("paused_at", moment, nullable=True))
    op.add_column("automations", sa.Column("paused_why", sa.Text(), nullable=True))
    op.create_index(
        "ix_automation_runs_outcomes",
        "automation_runs",
        ["tenant_id", "automation_id", "outcome", "started_at", "milliseconds"],
    )
    if op.get_bind().dialect.name == "postgresql":
        for table in TABLES:
            op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
            op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
            op.execute(f"CREATE POLICY tenant ON {table} USING ({MINE}) WITH CHECK ({MINE})")


def downgrade():
    op.drop_index("ix_automation_runs_outcomes", "automation_runs")
    op.drop_column("automations", "paused_why")
    op.drop_column("automations", "paused_at")
    op.drop_table("notification_choices")
    op.drop_table("notifications")
