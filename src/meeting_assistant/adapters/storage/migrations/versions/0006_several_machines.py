"""several machines: which one records a meeting

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("meetings", sa.Column("gateway", sa.String(64), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("meetings", "gateway")
