"""Translation between rows and the domain. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from meeting_assistant.adapters.storage.sql.models import (
    EventRow,
    MeetingRow,
    SpeakerRow,
    UtteranceRow,
    WordRow,
)
from meeting_assistant.domain.meeting import Bookmark, Meeting, OffRecord
from meeting_assistant.domain.transcript import (
    Gap,
    Speaker,
    Transcript,
    Utterance,
    Word,
    transcript_labels,
)

_NOT_IN_DOMAIN = {"last_seq", "resume", "gateway"}


def row_of(meeting: Meeting, gateway: str = "") -> MeetingRow:
    """Return the row of a new meeting."""
    return MeetingRow(
        **meeting.model_dump(mode="json", exclude={"bookmarks", "off_record"}),
        last_seq=0,
        resume={},
        gateway=gateway,
    )


def meeting_of(row: MeetingRow, bookmarks: Sequence[Bookmark], off_record: Sequence[OffRecord]) -> Meeting:
    """Return the meeting of a row, with what is stored in rows of their own."""
    columns = row.__table__.columns.keys()
    fields = {name: getattr(row, name) for name in columns if name not in _NOT_IN_DOMAIN}
    return Meeting.model_validate({**fields, "bookmarks": bookmarks, "off_record": off_record})


def utterance_row(meeting_id: str, utterance: Utterance, seq: int) -> UtteranceRow:
    """Return the row of an utterance, without its words."""
    return UtteranceRow(meeting_id=meeting_id, seq=seq, **utterance.model_dump(exclude={"words"}))


def word_rows(meeting_id: str, utterance: Utterance) -> list[WordRow]:
    """Return the rows of an utterance's words, in order."""
    return [
        WordRow(meeting_id=meeting_id, utterance=utterance.utterance, position=position, **word.model_dump())
        for position, word in enumerate(utterance.words)
    ]


def transcript_of(
    utterances: Sequence[UtteranceRow],
    words: Sequence[WordRow],
    speakers: Sequence[SpeakerRow],
    gaps: Sequence[EventRow],
) -> Transcript:
    """Return the transcript; its speakers are the labels that occur."""
    by_utterance: dict[int, list[Word]] = {}
    for row in words:
        by_utterance.setdefault(row.utterance, []).append(word_of(row))
    names = {row.label: row.name for row in speakers}
    labels = transcript_labels(row.speaker for row in utterances)
    return Transcript(
        utterances=[utterance_of(row, by_utterance.get(row.utterance, [])) for row in utterances],
        speakers=[Speaker(label=label, name=names.get(label)) for label in labels],
        gaps=[Gap.model_validate(row.payload) for row in gaps],
    )


def word_of(row: WordRow) -> Word:
    """Return the word of a row."""
    return Word(text=row.text, start_ms=row.start_ms, end_ms=row.end_ms, confidence=row.confidence)


def utterance_of(row: UtteranceRow, words: Sequence[Word]) -> Utterance:
    """Return the utterance of a row."""
    return Utterance.model_validate(
        {
            "utterance": row.utterance,
            "rev": row.rev,
            "start_ms": row.start_ms,
            "end_ms": row.end_ms,
            "speaker": row.speaker,
            "is_assigned": row.is_assigned,
            "overlap": row.overlap,
            "echo": row.echo,
            "text": row.text,
            "words": list(words),
            "timing": row.timing,
        }
    )
