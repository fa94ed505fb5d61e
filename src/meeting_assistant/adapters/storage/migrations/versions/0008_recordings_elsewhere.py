"""recordings in an object store: which object, and the key that opens it

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "remote_recordings",
        sa.Column("object_name", sa.String(128), primary_key=True),
        sa.Column("meeting_id", sa.String(36), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("gateway", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("key_fingerprint", sa.String(16), nullable=True),
        sa.Column("wrapped_key", sa.LargeBinary, nullable=True),
    )
    op.create_index("ix_remote_recordings_meeting", "remote_recordings", ["meeting_id"])


def downgrade() -> None:
    op.drop_table("remote_recordings")
