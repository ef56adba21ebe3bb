"""row-level security: on PostgreSQL each tenant-owned table shows only the current tenant's rows

Revision ID: 0003
Revises: 0002

"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = (
    "appointment_people", "appointments", "automation_runs", "automation_steps", "automation_versions", "automations",
    "companies", "contact_identities", "contacts", "deal_contacts", "deals", "event_links", "events", "notes",
    "pipelines", "search_words", "stages", "tasks",
)  # fmt: skip
MINE = "tenant_id = nullif(current_setting('soconnective.tenant_id', true), '')::bigint"


def upgrade():
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON {table} USING ({MINE}) WITH CHECK ({MINE})")


def downgrade():
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in TABLES:
        op.execute(f"DROP POLICY tenant ON {table}")
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
