"""Meetings in memory: records, steps, retention."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from meeting_assistant.domain.errors import NotFoundError
from meeting_assistant.domain.events import off_record_gap
from meeting_assistant.domain.meeting import (
    YOU,
    Bookmark,
    Meeting,
    MeetingState,
    OffRecord,
    ResumePoint,
    StageError,
    require_move,
)
from meeting_assistant.domain.meeting_start import MeetingStart
from meeting_assistant.domain.ports import StoredEvent
from meeting_assistant.domain.stored_events import event_payload
from meeting_assistant.domain.transcript import (
    NOTHING_LOST,
    Gap,
    Speaker,
    Transcript,
    Utterance,
    transcript_labels,
)


@dataclass(slots=True)
class Step:
    """A step of one meeting."""

    attempts: int = 0
    is_done: bool = False


@dataclass(slots=True)
class StoredMeeting:
    """Everything that is stored of one meeting."""

    record: Meeting
    resume: ResumePoint = field(default_factory=ResumePoint)
    utterances: dict[int, Utterance] = field(default_factory=dict)
    seqs: dict[int, int] = field(default_factory=dict)
    """Number of the newest event of each utterance."""
    names: dict[str, str | None] = field(default_factory=dict)
    merged: dict[str, str] = field(default_factory=dict)
    """Labels that were merged, with the label that each became."""
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Kind and payload; the first one has number 1."""
    minutes: dict[int, Any] = field(default_factory=dict)
    """Documents by version."""
    steps: dict[str, Step] = field(default_factory=dict)

    def update(self, **values: object) -> None:
        """Change fields of the record."""
        self.record = Meeting.model_validate({**self.record.model_dump(), **values})

    def append(self, kind: str, payload: dict[str, Any]) -> int:
        """Add an event and return its number."""
        self.events.append((kind, payload))
        return len(self.events)

    def transcript(self) -> Transcript:
        """Return the transcript, in order of time."""
        ordered = sorted(self.utterances.values(), key=lambda one: (one.start_ms, one.utterance))
        labels = transcript_labels(one.speaker for one in ordered)
        return Transcript(
            utterances=ordered,
            speakers=[Speaker(label=label, name=self.names.get(label)) for label in labels],
            gaps=[Gap.model_validate(payload) for kind, payload in self.events if kind == "gap"],
        )


class MemoryTables:
    """Base of the classes that implement the ports of meetings in memory."""

    def __init__(self) -> None:
        self._meetings: dict[str, StoredMeeting] = {}

    def _get(self, meeting_id: str) -> StoredMeeting:
        if meeting_id not in self._meetings:
            raise NotFoundError("There is no such meeting.", "It may have been deleted.")
        return self._meetings[meeting_id]


class MemoryRecords(MemoryTables):
    """Implements `MeetingRecords`."""

    async def create(self, meeting: Meeting) -> None:
        """Store a new meeting."""
        self._meetings[meeting.id] = StoredMeeting(meeting)
        if meeting.channels > 1:
            self._meetings[meeting.id].names[YOU] = "You"

    async def get(self, meeting_id: str) -> Meeting:
        """Return a meeting."""
        return self._get(meeting_id).record

    async def recent(
        self, *, limit: int = 50, before: str | None = None, owner: str | None = None
    ) -> list[Meeting]:
        """Return meetings, newest first."""
        found = [
            stored.record
            for key, stored in sorted(self._meetings.items(), reverse=True)
            if (before is None or key < before) and (owner is None or stored.record.owner == owner)
        ]
        return found[:limit]

    async def known(self, meeting_ids: Collection[str]) -> set[str]:
        """Return those of the ids that a meeting has."""
        return set(meeting_ids) & set(self._meetings)

    async def unfinished(self) -> list[Meeting]:
        """Return meetings that are recording or processing, oldest first."""
        return [
            stored.record for _, stored in sorted(self._meetings.items()) if not stored.record.state.is_over
        ]

    async def other_machine(self, meeting_id: str) -> str | None:
        """Return None: memory is shared with no other machine."""
        return None

    async def delete(self, meeting_id: str) -> None:
        """Remove everything of a meeting."""
        self._get(meeting_id)
        del self._meetings[meeting_id]

    async def set_title(self, meeting_id: str, title: str) -> None:
        """Rename a meeting."""
        self._get(meeting_id).update(title=title)

    async def set_start(self, meeting_id: str, start: MeetingStart) -> None:
        """Correct when a meeting began."""
        self._get(meeting_id).update(
            began_at_ms=start.at_ms,
            began_at_source=start.source,
            utc_offset_minutes=start.utc_offset_minutes,
        )

    async def set_state(self, meeting_id: str, state: MeetingState) -> None:
        """Move a meeting to a state."""
        stored = self._get(meeting_id)
        require_move(stored.record.state, state)
        stored.update(state=state)

    async def add_error(self, meeting_id: str, error: StageError) -> None:
        """Record that a stage failed."""
        stored = self._get(meeting_id)
        stored.update(errors=[*stored.record.errors, error])

    async def clear_errors(self, meeting_id: str, stage: str) -> None:
        """Remove the errors of a stage."""
        stored = self._get(meeting_id)
        stored.update(errors=[error for error in stored.record.errors if error.stage != stage])

    async def add_bookmark(self, meeting_id: str, bookmark: Bookmark) -> None:
        """Append a bookmark."""
        stored = self._get(meeting_id)
        stored.update(bookmarks=[*stored.record.bookmarks, bookmark])

    async def set_workflows(self, meeting_id: str, names: Sequence[str] | None) -> None:
        """Choose the integrations that may receive the meeting; there is no outbox here."""
        self._get(meeting_id).update(workflows=None if names is None else list(names))

    async def set_local_only(self, meeting_id: str, allowed: Collection[str] = ()) -> None:
        """Keep the meeting from providers outside; there is no outbox here."""
        self._get(meeting_id).update(local_only=True)

    async def take_over(self, meeting_id: str) -> int:
        """Raise the epoch and return it."""
        stored = self._get(meeting_id)
        stored.update(epoch=stored.record.epoch + 1)
        return stored.record.epoch

    async def set_received(self, meeting_id: str, received_bytes: int) -> None:
        """Record how much audio is durable."""
        stored = self._get(meeting_id)
        stored.update(received_bytes=max(stored.record.received_bytes, received_bytes))


class MemorySteps(MemoryTables):
    """Implements `StepLedger`."""

    async def begin_step(self, meeting_id: str, step: str, *, can_repeat: bool = False) -> int:
        """Count an attempt at a step."""
        if not await self.open_step(meeting_id, step, can_repeat=can_repeat):
            return 0
        present = self._get(meeting_id).steps[step]
        present.attempts += 1
        return present.attempts

    async def open_step(self, meeting_id: str, step: str, *, can_repeat: bool = False) -> bool:
        """Record that a step has to be done."""
        present = self._get(meeting_id).steps.setdefault(step, Step())
        if present.is_done and can_repeat:
            present.attempts, present.is_done = 0, False
        return not present.is_done

    async def end_step(self, meeting_id: str, step: str) -> None:
        """Record that a step is done; a step that did not begin is left out."""
        stored = self._meetings.get(meeting_id)
        if stored is not None and step in stored.steps:
            stored.steps[step].is_done = True

    async def attempts(self, meeting_id: str, step: str) -> int:
        """Return how many attempts at a step are counted."""
        stored = self._meetings.get(meeting_id)
        present = stored.steps.get(step) if stored is not None else None
        return 0 if present is None or present.is_done else present.attempts

    async def forget_attempts(self, meeting_id: str, step: str) -> None:
        """Count no attempt at a step any more."""
        stored = self._meetings.get(meeting_id)
        if stored is not None and step in stored.steps:
            stored.steps[step].attempts = 0

    async def reset_steps(self, meeting_id: str) -> None:
        """Remove all attempts at steps that are not done."""
        stored = self._get(meeting_id)
        stored.steps = {name: step for name, step in stored.steps.items() if step.is_done}

    async def incomplete_steps(self, step: str) -> list[str]:
        """Return the ids of meetings in which the step began and did not end, oldest first."""
        return [
            key
            for key, stored in sorted(self._meetings.items())
            if step in stored.steps and not stored.steps[step].is_done
        ]


class MemoryRetention(MemoryTables):
    """Implements `RetentionStore`."""

    async def begin_off_record(self, meeting_id: str, start_sample: int) -> None:
        """Record that a span off the record begins."""
        stored = self._get(meeting_id)
        span = OffRecord(start_sample=start_sample)
        stored.update(off_record=[*(one for one in stored.record.off_record if one != span), span])

    async def end_off_record(self, meeting_id: str, start_sample: int, end_sample: int) -> None:
        """Record where a span ends, or remove one that holds nothing."""
        stored = self._get(meeting_id)
        others = [one for one in stored.record.off_record if one.start_sample != start_sample]
        span = OffRecord(start_sample=start_sample, end_sample=end_sample)
        stored.update(off_record=[*others, *([span] if end_sample > start_sample else [])])

    async def redact(
        self,
        meeting_id: str,
        spans: Sequence[OffRecord],
        changed: Sequence[Utterance],
        removed: Sequence[int],
    ) -> list[StoredEvent]:
        """Remove words for good."""
        stored = self._get(meeting_id)
        ended = [span for span in spans if span.end_sample is not None]
        new = [off_record_gap(span) for span in ended if span not in stored.record.off_record]
        gaps = [off_record_gap(span) for span in spans]
        stored.update(
            off_record=list(spans),
            bookmarks=[
                mark
                for mark in stored.record.bookmarks
                if not any(gap.start_ms <= mark.at_ms < gap.end_ms for gap in gaps)
            ],
        )
        for utterance in changed:
            if utterance.utterance in stored.utterances:
                stored.utterances[utterance.utterance] = utterance
        for number in removed:
            stored.utterances.pop(number, None)
        for at, (kind, payload) in enumerate(stored.events):
            if kind == "transcript" and payload["utterance"] in removed:
                stored.events[at] = ("speakers", {"labels": []})
            elif kind == "notes":
                stored.events[at] = (kind, {})
        stored.minutes.clear()
        return [StoredEvent(stored.append("gap", event_payload(gap)), gap) for gap in new]

    async def with_audio_before(self, created_before_ms: int, *, only_with_minutes: bool) -> list[str]:
        """Return finished meetings that began before that time and still have audio, oldest first."""
        return [
            key
            for key, stored in sorted(self._meetings.items())
            if stored.record.state is MeetingState.DONE
            and stored.record.sound_deleted_at_ms is None
            and stored.record.created_at_ms <= created_before_ms
            and (not only_with_minutes or _is_transcribed(stored))
        ]

    async def set_audio_deleted(self, meeting_id: str, at_ms: int) -> None:
        """Record when the audio was deleted; a second call keeps the first time."""
        stored = self._get(meeting_id)
        stored.update(sound_deleted_at_ms=stored.record.sound_deleted_at_ms or at_ms)


def _is_transcribed(stored: StoredMeeting) -> bool:
    record = stored.record
    gaps = [payload for kind, payload in stored.events if kind == "gap"]
    return (
        bool(stored.minutes)
        and all(gap["reason"] in NOTHING_LOST for gap in gaps)
        and (record.committed_sample + 1) * record.frame_bytes > record.received_bytes
    )
