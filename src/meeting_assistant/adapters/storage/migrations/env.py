"""Run by Alembic with a connection that `database.py` has already opened."""

from __future__ import annotations

from alembic import context

from meeting_assistant.adapters.storage.sql.models import Base

connection = context.config.attributes["connection"]
# SQLite cannot alter most things in place: batch mode copies the table.
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
