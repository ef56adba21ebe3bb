"""rules as text: a key and examples of each rule

Revision ID: 0017
Revises: 0016

"""

import re
import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade():
    json = sa.JSON(none_as_null=True).with_variant(
        sa.dialects.postgresql.JSONB(none_as_null=True), "postgresql"
    )
    op.add_column("automations", sa.Column("key", sa.String(length=140), nullable=True))
    op.add_column("automations", sa.Column("examples", json, nullable=True))
    rules = sa.table("automations", *(sa.column(name) for name in ("id", "tenant_id", "name", "key")))
    taken = set()
    bind = op.get_bind()
    for row in bind.execute(
        sa.select(rules.c.id, rules.c.tenant_id, rules.c.name).order_by(rules.c.id)
    ).all():
        wanted = _slug(row.name)
        key, number = wanted, 1
        while (row.tenant_id, key) in taken:
            number += 1
            key = f"{wanted}-{number}"
        taken.add((row.tenant_id, key))
        bind.execute(sa.update(rules).where(rules.c.id == row.id).values(key=key))
    op.create_index("ix_automations_key", "automations", ["tenant_id", "key"], unique=True)


def _slug(name):
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss")).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:120].strip("-") or "rule"


def downgrade():
    op.drop_index("ix_automations_key", "automations")
    op.drop_column("automations", "examples")
    op.drop_column("automations", "key")
