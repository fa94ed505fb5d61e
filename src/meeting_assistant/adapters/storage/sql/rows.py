"""Between rows and the domain. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meeting_assistant.adapters.storage.sql.models import (
    EventRow,
    MeetingRow,
    SpeakerRow,
    UtteranceRow,
    WordRow,
)
from meeting_assistant.domain.events import (
    DurableEvent,
    GapFound,
    MeetingFinished,
    NotesChanged,
    SpeakersChanged,
    UtteranceFinished,
    UtteranceSpeaker,
)
from meeting_assistant.domain.meeting import Meeting
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.transcript import (
    PROVISIONAL,
    Gap,
    Speaker,
    Transcript,
    Utterance,
    Word,
    label_order,
)

_NOT_IN_DOMAIN = {"last_seq", "resume", "gateway"}


def row_of(meeting: Meeting, gateway: str = "") -> MeetingRow:
    """A new row."""
    return MeetingRow(**meeting.model_dump(mode="json"), last_seq=0, resume={}, gateway=gateway)


def meeting_of(row: MeetingRow) -> Meeting:
    """The record."""
    columns = row.__table__.columns.keys()
    return Meeting.model_validate(
        {name: getattr(row, name) for name in columns if name not in _NOT_IN_DOMAIN}
    )


def utterance_row(meeting_id: str, utterance: Utterance, seq: int) -> UtteranceRow:
    """Without its words."""
    return UtteranceRow(meeting_id=meeting_id, seq=seq, **utterance.model_dump(exclude={"words"}))


def word_rows(meeting_id: str, utterance: Utterance) -> list[WordRow]:
    """In order."""
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
    """Everything that was said; a speaker is listed for every label that occurs."""
    by_utterance: dict[int, list[Word]] = {}
    for row in words:
        word = Word(text=row.text, start_ms=row.start_ms, end_ms=row.end_ms, confidence=row.confidence)
        by_utterance.setdefault(row.utterance, []).append(word)
    names = {row.label: row.name for row in speakers}
    labels = sorted(
        {row.speaker for row in utterances if row.speaker not in (None, PROVISIONAL)}, key=label_order
    )
    return Transcript(
        utterances=[_utterance(row, by_utterance.get(row.utterance, [])) for row in utterances],
        speakers=[Speaker(label=label, name=names.get(label)) for label in labels],
        gaps=[Gap.model_validate(row.payload) for row in gaps],
    )


def _utterance(row: UtteranceRow, words: list[Word]) -> Utterance:
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
            "words": words,
            "timing": row.timing,
        }
    )


def event_payload(body: DurableEvent) -> dict[str, Any]:
    """What of a `gap` or `notes` event cannot be rebuilt from other rows."""
    return body.model_dump(mode="json", exclude={"type"})


def body_of(
    row: EventRow,
    meeting: Meeting,
    transcript: Transcript,
    said: Mapping[int, Utterance],
    minutes: Minutes | None,
) -> DurableEvent:
    """The event as it is true now."""
    match row.type:
        case "transcript":
            return UtteranceFinished(**said[row.payload["utterance"]].model_dump())
        case "speakers":
            names = {speaker.label: speaker.name for speaker in transcript.speakers}
            return SpeakersChanged(
                names={label: names.get(label) for label in row.payload["labels"]},
                utterances=[
                    speaker_line(said[number])
                    for number in row.payload.get("utterances", [])
                    if number in said
                ],
            )
        case "notes":
            return NotesChanged.model_validate(row.payload).with_names(transcript.speaker_name)
        case "gap":
            return GapFound.model_validate(row.payload)
        case _:
            return final_body(meeting, transcript, minutes)


def final_body(meeting: Meeting, transcript: Transcript, minutes: Minutes | None) -> MeetingFinished:
    """The body of the `final` event."""
    return MeetingFinished(
        meeting=meeting,
        transcript=transcript,
        minutes=minutes,
        coverage=meeting.coverage,
        errors=meeting.errors,
    )


def speaker_line(utterance: Utterance) -> UtteranceSpeaker:
    """One line of a relabelling."""
    return UtteranceSpeaker(
        utterance=utterance.utterance,
        rev=utterance.rev,
        speaker=utterance.speaker,
        is_assigned=utterance.is_assigned,
    )
