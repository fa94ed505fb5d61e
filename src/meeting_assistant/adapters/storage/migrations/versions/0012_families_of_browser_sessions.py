"""the sessions that followed each other in one browser

Revision ID: 0012
Revises: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("browser_sessions", sa.Column("family", sa.String(36), nullable=False, server_default=""))
    op.execute("UPDATE browser_sessions SET family = id")
    op.create_index("ix_browser_sessions_family", "browser_sessions", ["family"])


def downgrade() -> None:
    op.drop_index("ix_browser_sessions_family", "browser_sessions")
    op.drop_column("browser_sessions", "family")
