"""browser sessions in place of tokens in cookies; a counter of rights that ended

Revision ID: 0010
Revises: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "browser_sessions",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("credentials", sa.JSON, nullable=False),
        sa.Column("newest_credential", sa.String(64), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_browser_sessions_digest", "browser_sessions", ["digest"], unique=True)
    op.create_index("ix_browser_sessions_newest_credential", "browser_sessions", ["newest_credential"])
    changes = op.create_table(
        "access_changes",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(changes, [{"id": 1, "number": 0}])


def downgrade() -> None:
    op.drop_table("access_changes")
    op.drop_table("browser_sessions")
