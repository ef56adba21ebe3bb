"""outside: HTML of mail templates, a proven mail account, an old secret that signs for a while

Revision ID: 0020
Revises: 0019

"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade():
    moment = sa.DateTime(timezone=True)
    op.add_column("mail_templates", sa.Column("html", sa.Text(), nullable=False, server_default=""))
    op.add_column("mail_templates", sa.Column("has_images", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("mail_accounts", sa.Column("proven_at", moment, nullable=True))
    op.add_column("webhook_endpoints", sa.Column("old_secret_until", moment, nullable=True))
    # an account that has sent mail is known to work
    accounts = sa.table("mail_accounts", sa.column("tenant_id"), sa.column("proven_at"))
    messages = sa.table("mail_messages", sa.column("tenant_id"), sa.column("sent_at"))
    last = sa.select(sa.func.max(messages.c.sent_at)).where(messages.c.tenant_id == accounts.c.tenant_id)
    for_all_workspaces(sa.update(accounts).values(proven_at=last.scalar_subquery()))


def for_all_workspaces(statement):
    """Row security hides all rows from the tables' owner too; for this one statement it does not."""
    tables = ("mail_accounts", "mail_messages") if op.get_bind().dialect.name == "postgresql" else ()
    for table in tables:
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    op.execute(statement)
    for table in tables:
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")


def downgrade():
    op.drop_column("webhook_endpoints", "old_secret_until")
    op.drop_column("mail_accounts", "proven_at")
    op.drop_column("mail_templates", "has_images")
    op.drop_column("mail_templates", "html")
