"""The tables. Plain types only, so that the same models run on SQLite and on PostgreSQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Float, ForeignKey, Index, Integer, LargeBinary, String, Text, true
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """All tables; types by annotation."""

    type_annotation_map = {str: Text, int: BigInteger, float: Float, dict[str, Any]: JSON, list[Any]: JSON}  # noqa: RUF012


def _meeting_key() -> Mapped[str]:
    return mapped_column(String(36), ForeignKey("meetings.id", ondelete="CASCADE"), primary_key=True)


class MeetingRow(Base):
    """Row of one meeting."""

    __tablename__ = "meetings"
    __table_args__ = (Index("ix_meetings_state", "state"), Index("ix_meetings_owner", "owner"))

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    title: Mapped[str]
    state: Mapped[str] = mapped_column(String(16))
    source: Mapped[str] = mapped_column(String(16))
    channels: Mapped[int] = mapped_column(Integer)
    created_at_ms: Mapped[int]
    began_at_ms: Mapped[int]
    began_at_source: Mapped[str] = mapped_column(String(16))
    utc_offset_minutes: Mapped[int] = mapped_column(Integer)
    duration_ms: Mapped[int]
    language: Mapped[str | None] = mapped_column(String(16))
    vocabulary: Mapped[list[Any]]
    attendees: Mapped[list[Any]]
    llm_provider: Mapped[str | None] = mapped_column(String(32))
    local_only: Mapped[bool]
    template: Mapped[str | None] = mapped_column(String(32))
    minutes_language: Mapped[str | None] = mapped_column(String(16))
    workflows: Mapped[list[Any] | None]
    epoch: Mapped[int]
    received_bytes: Mapped[int]
    committed_sample: Mapped[int]
    resume: Mapped[dict[str, Any]]
    """`ResumePoint`."""
    owner: Mapped[str] = mapped_column(String(64))
    sound_deleted_at_ms: Mapped[int | None]
    engines: Mapped[dict[str, Any]]
    coverage: Mapped[dict[str, Any]]
    errors: Mapped[list[Any]]
    last_seq: Mapped[int]
    """Number of the newest durable event."""
    gateway: Mapped[str] = mapped_column(String(64))
    """The machine that records it, where several share the database."""


class BookmarkRow(Base):
    """A moment that a person marked."""

    __tablename__ = "bookmarks"
    __table_args__ = (Index("ix_bookmarks_meeting", "meeting_id"),)

    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    """In the order in which they were made."""
    meeting_id: Mapped[str] = mapped_column(String(36), ForeignKey("meetings.id", ondelete="CASCADE"))
    at_ms: Mapped[int]
    note: Mapped[str]


class OffRecordRow(Base):
    """A span of a meeting that is off the record."""

    __tablename__ = "off_record"

    meeting_id: Mapped[str] = _meeting_key()
    start_sample: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    end_sample: Mapped[int | None]
    """Null while it lasts."""


class RemoteRecordingRow(Base):
    """An object in the object store, also while it is written or removed. It may outlive its meeting: an object that
    was deleted while the store could not be reached still has to be removed there."""

    __tablename__ = "remote_recordings"
    __table_args__ = (Index("ix_remote_recordings_meeting", "meeting_id"),)

    object_name: Mapped[str] = mapped_column(String(128), primary_key=True)
    meeting_id: Mapped[str] = mapped_column(String(36))
    state: Mapped[str] = mapped_column(String(16))
    """`copying`, `stored`, `doomed` (to delete), or `order` (a recording to delete from the disk of `gateway`)."""
    gateway: Mapped[str] = mapped_column(String(64))
    """The machine that wrote it."""
    size_bytes: Mapped[int]
    """0 until it is stored."""
    sha256: Mapped[str] = mapped_column(String(64))
    key_fingerprint: Mapped[str | None] = mapped_column(String(16))
    wrapped_key: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The data key, wrapped by the operator's: the object holds none. Null once it is marked for deletion."""


class UtteranceRow(Base):
    """One finished utterance, in its newest revision."""

    __tablename__ = "utterances"

    meeting_id: Mapped[str] = _meeting_key()
    utterance: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    rev: Mapped[int]
    seq: Mapped[int]
    """Number of its `transcript` event."""
    start_ms: Mapped[int]
    end_ms: Mapped[int]
    speaker: Mapped[str | None] = mapped_column(String(16))
    is_assigned: Mapped[bool]
    overlap: Mapped[bool]
    echo: Mapped[str | None]
    text: Mapped[str]
    timing: Mapped[str] = mapped_column(String(16))


class WordRow(Base):
    """One word of an utterance."""

    __tablename__ = "words"

    meeting_id: Mapped[str] = _meeting_key()
    utterance: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str]
    start_ms: Mapped[int]
    end_ms: Mapped[int]
    confidence: Mapped[float | None]


class SpeakerRow(Base):
    """The name of a speaker, and the label that it was merged into."""

    __tablename__ = "speakers"

    meeting_id: Mapped[str] = _meeting_key()
    label: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str | None]
    merged_into: Mapped[str | None] = mapped_column(String(16))


class VoiceProfileRow(Base):
    """The voice of an enrolled speaker. The vector is encrypted."""

    __tablename__ = "voice_profiles"
    __table_args__ = (Index("ix_voice_profiles_owner", "owner"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    owner: Mapped[str] = mapped_column(String(64))
    name: Mapped[str]
    model: Mapped[str] = mapped_column(String(64))
    vector: Mapped[bytes] = mapped_column(LargeBinary)
    spoken_ms: Mapped[int]
    created_at_ms: Mapped[int]


class MinutesRow(Base):
    """One version of the minutes."""

    __tablename__ = "minutes"

    meeting_id: Mapped[str] = _meeting_key()
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    document: Mapped[dict[str, Any]]


class EventRow(Base):
    """One durable event. What can be rebuilt from other rows is not stored twice."""

    __tablename__ = "events"

    meeting_id: Mapped[str] = _meeting_key()
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    type: Mapped[str] = mapped_column(String(32))
    payload: Mapped[dict[str, Any]]
    """`transcript`: the utterance's id; `speakers`: labels and utterances' ids; `final`: nothing; others: the body."""


class StepRow(Base):
    """Number of attempts at a step, and whether it is done."""

    __tablename__ = "steps"

    meeting_id: Mapped[str] = _meeting_key()
    step: Mapped[str] = mapped_column(String(32), primary_key=True)
    attempts: Mapped[int]
    is_done: Mapped[bool]


class ShareRow(Base):
    """A link to read one meeting. The link's token is not stored, only its digest."""

    __tablename__ = "shares"
    __table_args__ = (Index("ix_shares_digest", "digest", unique=True),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    meeting_id: Mapped[str] = mapped_column(String(36), ForeignKey("meetings.id", ondelete="CASCADE"))
    digest: Mapped[str] = mapped_column(String(64))
    created_at_ms: Mapped[int]
    expires_at_ms: Mapped[int]


class BrowserSessionRow(Base):
    """A browser that is signed in. The secret of its cookie is not stored, only its digest."""

    __tablename__ = "browser_sessions"
    __table_args__ = (
        Index("ix_browser_sessions_digest", "digest", unique=True),
        Index("ix_browser_sessions_family", "family"),
        Index("ix_browser_sessions_newest_credential", "newest_credential"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    family: Mapped[str] = mapped_column(String(36))
    """Id of the first session of the same browser."""
    digest: Mapped[str] = mapped_column(String(64))
    credentials: Mapped[list[Any]]
    """Pairs of kind and key, the newest one last."""
    newest_credential: Mapped[str] = mapped_column(String(64))
    created_at_ms: Mapped[int]
    expires_at_ms: Mapped[int]


class AccessChangesRow(Base):
    """One row: how many links were withdrawn, browsers signed out and meetings deleted so far."""

    __tablename__ = "access_changes"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    number: Mapped[int]


class LlmCallRow(Base):
    """One question to one provider about one meeting."""

    __tablename__ = "llm_calls"

    meeting_id: Mapped[str] = _meeting_key()
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    purpose: Mapped[str] = mapped_column(String(16))
    provider: Mapped[str] = mapped_column(String(32))
    is_local: Mapped[bool]
    at_ms: Mapped[int]
    outcome: Mapped[str] = mapped_column(String(32))
    model: Mapped[str | None]
    seconds: Mapped[float | None]
    prompt_tokens: Mapped[int | None]
    completion_tokens: Mapped[int | None]


class DeliveryRow(Base):
    """One action of an integration on its way: the outbox."""

    __tablename__ = "deliveries"
    __table_args__ = (
        Index("ix_deliveries_id", "id", unique=True),
        Index("ix_deliveries_meeting", "meeting_id"),
        Index("ix_deliveries_due", "state", "next_at_ms"),
    )

    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    """In the order in which they were planned."""
    id: Mapped[str] = mapped_column(String(36))
    meeting_id: Mapped[str] = mapped_column(String(36), ForeignKey("meetings.id", ondelete="CASCADE"))
    integration: Mapped[str] = mapped_column(String(64))
    action: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int]
    next_at_ms: Mapped[int]
    lease_until_ms: Mapped[int]
    is_uncertain: Mapped[bool]
    last_error: Mapped[str | None]
    receipt: Mapped[dict[str, Any] | None]
    created_at_ms: Mapped[int]
    done_at_ms: Mapped[int | None]
    is_noted: Mapped[bool] = mapped_column(server_default=true())
    """True when the audit log has the result, or does not need it."""


class PreferencesRow(Base):
    """Defaults of the meetings of one owner."""

    __tablename__ = "preferences"

    owner: Mapped[str] = mapped_column(String(64), primary_key=True)
    document: Mapped[dict[str, Any]]


class SearchRow(Base):
    """The number under which the full-text index knows an utterance."""

    __tablename__ = "search_rows"
    __table_args__ = (Index("ix_search_rows_utterance", "meeting_id", "utterance", unique=True),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    meeting_id: Mapped[str] = mapped_column(String(36), ForeignKey("meetings.id", ondelete="CASCADE"))
    utterance: Mapped[int]
