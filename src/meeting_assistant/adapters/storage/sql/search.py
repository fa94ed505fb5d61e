"""Full-text search in SQL: implements `SearchIndex`, on the index of `search_schema.py`."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text

from meeting_assistant.adapters.storage.sql.database import Database
from meeting_assistant.adapters.storage.sql.search_schema import CONFIGURATION, dialect_of, plain
from meeting_assistant.domain.ports import SearchHit
from meeting_assistant.domain.transcript import Utterance

_QUERY = """
SELECT u.meeting_id, u.utterance, u.rev, u.start_ms, u.end_ms, u.speaker, u.text, u.timing
FROM {source}utterances u{join}
JOIN meetings m ON m.id = u.meeting_id
WHERE {matches}
  AND (CAST(:owner AS TEXT) IS NULL OR m.owner = :owner)
  AND (CAST(:meeting_id AS TEXT) IS NULL OR m.id = :meeting_id)
ORDER BY {rank}u.meeting_id DESC, u.utterance
LIMIT :most
"""
_JOIN = " ON u.meeting_id = s.meeting_id AND u.utterance = s.utterance"
_FIRST_UNSPACED = "\u2e80"
"""Chinese, Japanese and Korean begin here: tokenizers take a whole run of their characters for one word."""


class SqlSearchIndex:
    """Implements `SearchIndex`. Ranks by how rare and how near the words are, compared by their stems."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def search(
        self,
        words: Sequence[str],
        *,
        owner: str | None = None,
        meeting_id: str | None = None,
        has_all: bool = False,
        limit: int = 20,
    ) -> list[SearchHit]:
        """Return the best utterances first."""
        wanted = [word for word in (word.strip() for word in words) if any(map(str.isalnum, word))]
        if not wanted:
            return []
        async with self._database.reading() as session:
            if any(letter >= _FIRST_UNSPACED for word in wanted for letter in word):
                query, values = _by_letters(wanted, has_all=has_all)
            elif dialect_of(session) == "sqlite":
                query, values = _by_fts5(wanted, has_all=has_all)
            else:
                query, values = _by_tsvector(wanted, has_all=has_all)
            values |= {"owner": owner, "meeting_id": meeting_id, "most": limit}
            rows = (await session.execute(text(query), values)).mappings().all()
        return [SearchHit(row["meeting_id"], Utterance.model_validate(dict(row))) for row in rows]


def _by_letters(wanted: Sequence[str], *, has_all: bool) -> tuple[str, dict[str, object]]:
    joint = " AND " if has_all else " OR "
    likes = joint.join(f"u.text LIKE :word{n} ESCAPE '!'" for n in range(len(wanted)))
    values: dict[str, object] = {f"word{n}": f"%{_escaped(word)}%" for n, word in enumerate(wanted)}
    return _QUERY.format(source="", join="", matches=f"({likes})", rank=""), values


def _by_fts5(wanted: Sequence[str], *, has_all: bool) -> tuple[str, dict[str, object]]:
    source = "said JOIN search_rows s ON s.id = said.rowid JOIN "
    query = _QUERY.format(source=source, join=_JOIN, matches="said MATCH :wanted", rank="said.rank, ")
    # In quotes nothing of it is an operator of the query language.
    joint = " AND " if has_all else " OR "
    return query, {"wanted": joint.join('"' + word.replace('"', '""') + '"' for word in wanted)}


def _by_tsvector(wanted: Sequence[str], *, has_all: bool) -> tuple[str, dict[str, object]]:
    joint = " && " if has_all else " || "
    phrases = joint.join(f"phraseto_tsquery('{CONFIGURATION}', :word{n})" for n in range(len(wanted)))
    source = f"(SELECT {phrases} AS wanted) AS q, said JOIN search_rows s ON s.id = said.id JOIN "
    query = _QUERY.format(
        source=source,
        join=_JOIN,
        matches="said.words @@ q.wanted",
        rank="ts_rank_cd(said.words, q.wanted) DESC, ",
    )
    return query, {f"word{n}": plain(word) for n, word in enumerate(wanted)}


def _escaped(word: str) -> str:
    return word.replace("!", "!!").replace("%", "!%").replace("_", "!_")
