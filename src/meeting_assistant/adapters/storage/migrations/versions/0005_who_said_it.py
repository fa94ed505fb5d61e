"""who said it: what people assign and join, overlap, echo, two channels, voices that are known again

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("meetings", sa.Column("channels", sa.Integer(), nullable=False, server_default="1"))
    for name in ("is_assigned", "overlap"):
        op.add_column("utterances", sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("utterances", sa.Column("echo", sa.Text(), nullable=True))
    op.add_column("speakers", sa.Column("merged_into", sa.String(16), nullable=True))
    op.create_table(
        "voice_profiles",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("model", sa.String(64), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.Column("spoken_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_voice_profiles_owner", "voice_profiles", ["owner"])


def downgrade() -> None:
    op.drop_index("ix_voice_profiles_owner", "voice_profiles")
    op.drop_table("voice_profiles")
    op.drop_column("speakers", "merged_into")
    for name in ("echo", "overlap", "is_assigned"):
        op.drop_column("utterances", name)
    op.drop_column("meetings", "channels")
