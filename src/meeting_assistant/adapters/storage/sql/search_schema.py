"""The full-text index over transcripts, and keeping it current.

SQLite: FTS5 (https://sqlite.org/fts5.html). PostgreSQL: a `tsvector` under a GIN index
(https://www.postgresql.org/docs/current/textsearch.html). In both, rows are numbered by `search_rows`, whose numbers
survive a VACUUM of SQLite, which the hidden ones of `utterances` do not. Kept by code: with `trusted_schema=OFF`
triggers may not touch FTS5.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from sqlalchemy import Connection, delete, text
from sqlalchemy.ext.asyncio import AsyncSession

from meeting_assistant.adapters.storage.sql.models import SearchRow

CONFIGURATION = "english"
"""The stemmer of PostgreSQL. Words of other languages are found as they are written."""
_NUMBER = "INSERT INTO search_rows (meeting_id, utterance) SELECT meeting_id, utterance FROM utterances"
_SAID = """SELECT s.id, u.text FROM search_rows s JOIN utterances u
    ON u.meeting_id = s.meeting_id AND u.utterance = s.utterance"""
_CREATE = {
    "sqlite": (
        """CREATE VIRTUAL TABLE said USING fts5(text, tokenize = "porter unicode61 remove_diacritics 2")""",
        _NUMBER,
        f"INSERT INTO said (rowid, text) {_SAID}",
    ),
    "postgresql": (
        "CREATE TABLE said (id INTEGER PRIMARY KEY REFERENCES search_rows (id) ON DELETE CASCADE, words tsvector)",
        "CREATE INDEX ix_said_words ON said USING GIN (words)",
        _NUMBER,
        f"INSERT INTO said (id, words) SELECT id, to_tsvector('{CONFIGURATION}', text) FROM ({_SAID}) AS spoken",
    ),
}
_ROWS = "SELECT id FROM search_rows WHERE meeting_id = :meeting_id"
_INSERT = {
    "sqlite": "INSERT INTO said (rowid, text) VALUES (:id, :words)",
    "postgresql": f"INSERT INTO said (id, words) VALUES (:id, to_tsvector('{CONFIGURATION}', :words))",
}
_UPDATE = {
    "sqlite": "UPDATE said SET text = :words WHERE rowid = :id",
    "postgresql": f"UPDATE said SET words = to_tsvector('{CONFIGURATION}', :words) WHERE id = :id",
}
_KEY = {"sqlite": "rowid", "postgresql": "id"}

FORGET_DELETED = "INSERT INTO said (said) VALUES ('optimize')"
"""SQLite: deleted words stay in the index until its parts are merged; this merges them."""


def create_index(connection: Connection) -> None:
    """Create the index and fill it from the stored utterances."""
    for statement in _CREATE[connection.dialect.name]:
        connection.execute(text(statement))


def drop_index(connection: Connection) -> None:
    """Drop the index; `search_rows` stays."""
    connection.execute(text("DROP TABLE said"))


def plain(words: str) -> str:
    """Return the words without accents, as FTS5 reads them by itself."""
    parts = unicodedata.normalize("NFKD", words)
    return "".join(letter for letter in parts if not unicodedata.combining(letter))


def dialect_of(session: AsyncSession) -> str:
    """`sqlite` or `postgresql`."""
    return session.get_bind().dialect.name


async def index_utterance(session: AsyncSession, meeting_id: str, utterance: int, words: str) -> None:
    """Put an utterance into the index, or in the place of an earlier revision."""
    dialect = dialect_of(session)
    indexed = words if dialect == "sqlite" else plain(words)
    values: dict[str, object] = {"meeting_id": meeting_id, "utterance": utterance}
    found = await session.execute(text(f"{_ROWS} AND utterance = :utterance"), values)
    row_id = found.scalar_one_or_none()
    if row_id is None:
        row = SearchRow(meeting_id=meeting_id, utterance=utterance)
        session.add(row)
        await session.flush()
        await session.execute(text(_INSERT[dialect]), {"id": row.id, "words": indexed})
    else:
        await session.execute(text(_UPDATE[dialect]), {"id": row_id, "words": indexed})


async def unindex(session: AsyncSession, meeting_id: str, utterances: Iterable[int] | None = None) -> None:
    """Take some utterances of a meeting out of the index, or all."""
    key = _KEY[dialect_of(session)]
    for number in [None] if utterances is None else utterances:
        which = _ROWS
        values: dict[str, object] = {"meeting_id": meeting_id}
        if number is not None:
            which, values = f"{_ROWS} AND utterance = :utterance", {**values, "utterance": number}
        await session.execute(text(f"DELETE FROM said WHERE {key} IN ({which})"), values)
        rows = SearchRow.meeting_id == meeting_id
        await session.execute(
            delete(SearchRow).where(rows if number is None else rows & (SearchRow.utterance == number))
        )
