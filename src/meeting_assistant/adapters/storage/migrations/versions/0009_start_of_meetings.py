"""when a meeting began, apart from when its record was made

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Plain ADD COLUMN: a batch would copy and drop `meetings`, and the drop would cascade to everything said.
    op.add_column("meetings", sa.Column("began_at_ms", sa.BigInteger(), nullable=False, server_default="0"))
    source = sa.Column("began_at_source", sa.String(16), nullable=False, server_default="clock")
    op.add_column("meetings", source)
    op.execute("UPDATE meetings SET began_at_ms = created_at_ms")
    op.execute("UPDATE meetings SET began_at_source = 'upload' WHERE source = 'upload'")


def downgrade() -> None:
    op.drop_column("meetings", "began_at_source")
    op.drop_column("meetings", "began_at_ms")
