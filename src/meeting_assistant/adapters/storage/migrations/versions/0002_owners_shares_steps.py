"""owners, share links, steps of finishing, off-the-record spans

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Plain ADD COLUMN: a batch would copy and drop `meetings`, and the drop would cascade to everything said.
    op.add_column("meetings", sa.Column("owner", sa.String(64), nullable=False, server_default=""))
    op.add_column("meetings", sa.Column("resume", sa.JSON(), nullable=False, server_default="{}"))
    # Meetings that are being recorded now go on at what is committed.
    point = "'{\"start_sample\": ' || committed_sample || ', \"resume_sample\": ' || committed_sample || '}'"
    value = f"CAST({point} AS JSON)" if op.get_bind().dialect.name == "postgresql" else point
    op.execute(f"UPDATE meetings SET resume = {value}")  # noqa: S608 - constants
    op.add_column("meetings", sa.Column("off_record", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("meetings", sa.Column("sound_deleted_at_ms", sa.BigInteger(), nullable=True))
    op.create_index("ix_meetings_owner", "meetings", ["owner"])
    op.create_table(
        "steps",
        sa.Column("meeting_id", sa.String(36), nullable=False),
        sa.Column("step", sa.String(32), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("is_done", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["meeting_id"], ["meetings.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("meeting_id", "step"),
    )
    op.create_table(
        "shares",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("meeting_id", sa.String(36), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["meeting_id"], ["meetings.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_shares_digest", "shares", ["digest"], unique=True)


def downgrade() -> None:
    op.drop_table("shares")
    op.drop_table("steps")
    op.drop_index("ix_meetings_owner", "meetings")
    for column in ("sound_deleted_at_ms", "off_record", "resume", "owner"):
        op.drop_column("meetings", column)
