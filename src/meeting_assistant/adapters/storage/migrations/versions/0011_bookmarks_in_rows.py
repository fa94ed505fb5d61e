"""bookmarks and spans off the record in rows of their own

Revision ID: 0011
Revises: 0010
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    bookmarks = op.create_table(
        "bookmarks",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column(
            "meeting_id", sa.String(36), sa.ForeignKey("meetings.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
    )
    op.create_index("ix_bookmarks_meeting", "bookmarks", ["meeting_id"])
    off_record = op.create_table(
        "off_record",
        sa.Column(
            "meeting_id", sa.String(36), sa.ForeignKey("meetings.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("start_sample", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("end_sample", sa.BigInteger, nullable=True),
    )
    for table, column in ((bookmarks, "bookmarks"), (off_record, "off_record")):
        rows = list(_entries(column))
        if column == "off_record":
            rows = _one_of_each_start(rows)
        if rows:
            op.bulk_insert(table, rows)
        # Plain DROP COLUMN: a batch would copy and drop `meetings`, and the drop would cascade to everything said.
        op.drop_column("meetings", column)


def downgrade() -> None:
    meetings = sa.table(
        "meetings", sa.column("id"), sa.column("bookmarks", sa.JSON), sa.column("off_record", sa.JSON)
    )
    for name, fields in (("bookmarks", ("at_ms", "note")), ("off_record", ("start_sample", "end_sample"))):
        op.add_column("meetings", sa.Column(name, sa.JSON(), nullable=False, server_default="[]"))
        table = sa.table(name, sa.column("meeting_id"), *map(sa.column, fields))
        entries: dict[str, list[dict[str, Any]]] = {}
        for row in op.get_bind().execute(sa.select(table)).mappings():
            entries.setdefault(row["meeting_id"], []).append({field: row[field] for field in fields})
        for meeting_id, values in entries.items():
            op.execute(meetings.update().where(meetings.c.id == meeting_id).values({name: values}))
        op.drop_table(name)


def _one_of_each_start(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the longest span of those that start at the same sample, as a meeting in memory may have after a crash."""
    longest: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rows:
        key, end = (row["meeting_id"], row["start_sample"]), row["end_sample"]
        known = longest.setdefault(key, row)
        if known["end_sample"] is not None and (end is None or end > known["end_sample"]):
            longest[key] = row
    return list(longest.values())


def _entries(column: str) -> Iterator[dict[str, Any]]:
    meetings = sa.table("meetings", sa.column("id"), sa.column(column))
    for meeting_id, stored in op.get_bind().execute(sa.select(meetings.c.id, meetings.c[column])):
        for entry in json.loads(stored) if isinstance(stored, str) else stored or []:
            yield {"meeting_id": meeting_id, **entry}
