"""Meetings in memory: transcripts, speakers, events, minutes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from meeting_assistant.domain.errors import ConflictError, NotFoundError
from meeting_assistant.domain.events import DurableEvent, MeetingFinished, NotesChanged, SpeakersChanged
from meeting_assistant.domain.item_edits import with_labels, with_quotes, with_speakers
from meeting_assistant.domain.meeting import Coverage, MeetingState, ResumePoint, require_move
from meeting_assistant.domain.minutes import Evidence, Minutes
from meeting_assistant.domain.ports import StoredEvent
from meeting_assistant.domain.splitting import cut, move_quote
from meeting_assistant.domain.steps import WORKFLOWS
from meeting_assistant.domain.stored_events import (
    event_body,
    event_payload,
    final_event,
    speaker_line,
    utterance_event,
)
from meeting_assistant.domain.transcript import (
    PERSON_PREFIX,
    PROVISIONAL,
    Transcript,
    Utterance,
    display_name,
)
from meeting_assistant.testing.doubles.memory_meetings import MemoryTables, Step, StoredMeeting


class MemoryTranscripts(MemoryTables):
    """Implements `TranscriptStore`."""

    async def transcript(self, meeting_id: str) -> Transcript:
        """Return the whole transcript, in order of time."""
        return self._get(meeting_id).transcript()

    async def commit_utterances(
        self,
        meeting_id: str,
        utterances: Sequence[Utterance],
        committed_sample: int,
        *,
        resume: ResumePoint | None = None,
    ) -> list[StoredEvent]:
        """Store utterances; a revision that is not newer changes nothing."""
        stored = self._get(meeting_id)
        events = [_put(stored, utterance) for utterance in utterances]
        _advance(stored, committed_sample, resume)
        return events

    async def commit_sample(
        self, meeting_id: str, committed_sample: int, *, resume: ResumePoint | None = None
    ) -> None:
        """Record that the audio up to here held no more speech."""
        _advance(self._get(meeting_id), committed_sample, resume)

    async def resume_point(self, meeting_id: str) -> ResumePoint:
        """Return the point that was stored with the last words."""
        return self._get(meeting_id).resume

    async def split_utterances(
        self, meeting_id: str, parts: Mapping[int, Sequence[Utterance]]
    ) -> list[StoredEvent]:
        """Put several utterances in the place of each one."""
        stored = self._get(meeting_id)
        newest = max(stored.utterances, default=0)
        events: list[StoredEvent] = []
        for number, present in sorted(stored.utterances.items()):
            if number not in parts or present.is_assigned or parts[number][0].rev != present.rev + 1:
                continue
            first, *others = parts[number]
            events.append(_put(stored, first))
            for part in others:
                newest += 1
                events.append(_put(stored, part.model_copy(update={"utterance": newest})))
        return events

    async def mark_overlap(self, meeting_id: str, utterances: Collection[int]) -> list[StoredEvent]:
        """Store a new revision of each utterance that was not marked."""
        stored = self._get(meeting_id)
        return [
            _put(stored, one.model_copy(update={"rev": one.rev + 1, "overlap": True}))
            for number, one in sorted(stored.utterances.items())
            if number in utterances and not one.overlap
        ]

    async def cut_utterance(
        self, meeting_id: str, utterance: int, word: int, *, not_during: str
    ) -> list[StoredEvent]:
        """Cut an utterance in two."""
        stored = self._get(meeting_id)
        step = stored.steps.get(not_during)
        if not stored.record.state.is_over or (step is not None and not step.is_done):
            raise ConflictError("An utterance is cut when the meeting is over and its minutes are written.")
        if utterance not in stored.utterances:
            raise NotFoundError("There is no such utterance in this meeting.")
        whole = stored.utterances[utterance]
        parts = cut(whole, word, new_id=max(stored.utterances) + 1)

        def move(evidence: Evidence) -> list[Evidence]:
            return move_quote(evidence, whole, *parts)

        _rewrite_items(stored, lambda document: with_quotes(document, move))
        return [_put(stored, part) for part in parts]


class MemorySpeakers(MemoryTables):
    """Implements `SpeakerStore`."""

    async def speaker_names(self, meeting_id: str) -> dict[str, str | None]:
        """Return the names that were given, by label."""
        return dict(self._get(meeting_id).names)

    async def relabel(
        self, meeting_id: str, speakers: Mapping[int, str | None], *, by_person: bool = False
    ) -> list[StoredEvent]:
        """Change the speakers of utterances."""
        stored = self._get(meeting_id)
        before = {number: one.speaker for number, one in stored.utterances.items()}
        changed: list[int] = []
        for number, one in sorted(stored.utterances.items()):
            label = speakers.get(number)
            label = stored.merged.get(label, label) if label is not None else None
            if number not in speakers or (not by_person and (one.is_assigned or one.speaker == label)):
                continue
            _set_speaker(stored, number, label, is_assigned=by_person or one.is_assigned)
            changed.append(number)
        if not changed:
            return []
        after = {number: one.speaker for number, one in stored.utterances.items()}
        _rewrite_items(stored, lambda doc: with_speakers(doc, before, after, by_person=by_person))
        new = [label for label in stored.names if label in after.values() and label not in before.values()]
        return [_speakers_event(stored, changed, new)]

    async def merge_speakers(self, meeting_id: str, label: str, into: str) -> list[StoredEvent]:
        """Replace one label by another."""
        if label == into:
            raise ConflictError("A speaker cannot be merged with itself.")
        stored = self._get(meeting_id)
        _require_label(stored, label)
        _require_label(stored, into)
        stored.names[into] = stored.names.get(into) or stored.names.get(label)
        stored.merged = {old: into if new == label else new for old, new in stored.merged.items()}
        stored.merged[label] = into
        changed = [number for number, one in sorted(stored.utterances.items()) if one.speaker == label]
        for number in changed:
            _set_speaker(stored, number, into, is_assigned=stored.utterances[number].is_assigned)
        _rewrite_items(stored, lambda document: with_labels(document, {label: into}))
        return [_speakers_event(stored, changed, [into])]

    async def add_speaker(self, meeting_id: str, name: str | None) -> str:
        """Make the next label that no engine gives."""
        stored = self._get(meeting_id)
        taken = [int(label[1:]) for label in stored.names if label.startswith(PERSON_PREFIX)]
        label = f"{PERSON_PREFIX}{max(taken, default=0) + 1}"
        stored.names[label] = name
        return label

    async def rename_speaker(
        self, meeting_id: str, label: str, name: str | None, *, keep_present: bool = False
    ) -> list[StoredEvent]:
        """Name a speaker that occurs in the transcript."""
        stored = self._get(meeting_id)
        _require_label(stored, label)
        if keep_present and stored.names.get(label):
            return []
        stored.names[label] = name
        return [_speakers_event(stored, [], [label])]


class MemoryEvents(MemoryTables):
    """Implements `EventLog`."""

    async def last_seq(self, meeting_id: str) -> int:
        """Return the number of the newest event; 0 when there is none."""
        return len(self._get(meeting_id).events)

    async def events_after(self, meeting_id: str, seq: int) -> list[StoredEvent]:
        """Return events with a higher number, made from what is stored now."""
        stored = self._get(meeting_id)
        minutes = _with_names(stored, stored.minutes[max(stored.minutes)]) if stored.minutes else None
        transcript = stored.transcript()
        make = partial(
            event_body,
            meeting=stored.record,
            transcript=transcript,
            utterances={one.utterance: one for one in transcript.utterances},
            minutes=minutes,
        )
        return [
            StoredEvent(number, make(kind, payload))
            for number, (kind, payload) in enumerate(stored.events, start=1)
            if number > seq
        ]

    async def append_event(self, meeting_id: str, body: DurableEvent) -> list[StoredEvent]:
        """Number and store a `gap` or `notes` event."""
        stored = self._get(meeting_id)
        seq = stored.append(body.type, event_payload(body))
        if isinstance(body, NotesChanged):
            body = body.with_names(lambda label: display_name(label, stored.names))
        return [StoredEvent(seq, body)]


class MemoryMinutes(MemoryTables):
    """Implements `MinutesStore`."""

    async def minutes(self, meeting_id: str) -> Minutes | None:
        """Return the newest version with the names of speakers."""
        stored = self._get(meeting_id)
        return _with_names(stored, stored.minutes[max(stored.minutes)]) if stored.minutes else None

    async def stored_minutes(self, meeting_id: str, version: int | None = None) -> Minutes | None:
        """Return a version as it is stored."""
        versions = self._get(meeting_id).minutes
        document = versions.get(max(versions, default=0) if version is None else version)
        return None if document is None else Minutes.model_validate(document)

    async def minutes_versions(self, meeting_id: str) -> list[Minutes]:
        """Return all versions with the names of speakers, oldest first."""
        stored = self._get(meeting_id)
        return [_with_names(stored, document) for _, document in sorted(stored.minutes.items())]

    async def notes(self, meeting_id: str) -> list[NotesChanged]:
        """Return the changes to the live notes, oldest first."""
        events = self._get(meeting_id).events
        return [NotesChanged.model_validate(payload) for kind, payload in events if kind == "notes"]

    async def finish(
        self,
        meeting_id: str,
        *,
        minutes: Minutes | None,
        coverage: Coverage,
        duration_ms: int,
        engines: Mapping[str, str],
    ) -> list[StoredEvent]:
        """Store minutes, state and `final` event, once."""
        stored = self._get(meeting_id)
        kinds = [kind for kind, _ in stored.events]
        if stored.record.state is MeetingState.DONE:
            return [StoredEvent(kinds.index("final") + 1, _final(stored))]
        require_move(stored.record.state, MeetingState.DONE)
        stored.update(
            state=MeetingState.DONE, coverage=coverage, duration_ms=duration_ms, engines=dict(engines)
        )
        if minutes is not None:
            stored.minutes[minutes.version] = minutes.model_dump(mode="json")
        stored.steps[WORKFLOWS] = Step()
        return [StoredEvent(stored.append("final", {}), _final(stored))]

    async def add_minutes_version(
        self, meeting_id: str, *, minutes: Minutes | None, coverage: Coverage
    ) -> int:
        """Store minutes as the version after the newest one."""
        stored = self._get(meeting_id)
        stored.update(coverage=coverage)
        version = max(stored.minutes, default=0)
        if minutes is not None:
            version += 1
            document = minutes.model_copy(update={"version": version})
            stored.minutes[version] = document.model_dump(mode="json")
        return version

    async def change_minutes(
        self, meeting_id: str, version: int, change: Callable[[Minutes], Minutes]
    ) -> Minutes:
        """Change the newest version in place."""
        stored = self._get(meeting_id)
        if not stored.minutes:
            raise NotFoundError("This meeting has no minutes yet.", "Wait until they are written.")
        if max(stored.minutes) != version:
            raise ConflictError("The minutes were written again.", code="minutes_changed")
        changed = change(Minutes.model_validate(stored.minutes[version]))
        stored.minutes[version] = changed.model_dump(mode="json")
        return _with_names(stored, stored.minutes[version])

    async def set_minutes_options(
        self,
        meeting_id: str,
        *,
        template: str | None = None,
        minutes_language: str | None = None,
        llm_provider: str | None = None,
    ) -> None:
        """Choose how the minutes are written; the provider `auto` clears that choice."""
        stored = self._get(meeting_id)
        record = stored.record
        stored.update(
            template=template or record.template,
            minutes_language=minutes_language or record.minutes_language,
            llm_provider=None if llm_provider == "auto" else llm_provider or record.llm_provider,
        )


def _put(stored: StoredMeeting, utterance: Utterance) -> StoredEvent:
    number = utterance.utterance
    known = stored.utterances.get(number)
    if known is not None and known.rev >= utterance.rev:
        return StoredEvent(stored.seqs[number], utterance_event(known))
    if utterance.speaker in stored.merged:
        utterance = utterance.model_copy(update={"speaker": stored.merged[utterance.speaker]})
    stored.utterances[number] = utterance
    stored.seqs[number] = stored.append("transcript", {"utterance": number})
    return StoredEvent(stored.seqs[number], utterance_event(utterance))


def _advance(stored: StoredMeeting, committed_sample: int, resume: ResumePoint | None) -> None:
    stored.update(committed_sample=max(stored.record.committed_sample, committed_sample))
    point = resume or ResumePoint(start_sample=committed_sample, resume_sample=committed_sample)
    if point.resume_sample >= stored.resume.resume_sample:
        stored.resume = point


def _set_speaker(stored: StoredMeeting, number: int, label: str | None, *, is_assigned: bool) -> None:
    one = stored.utterances[number]
    update = {"speaker": label, "rev": one.rev + 1, "is_assigned": is_assigned}
    stored.utterances[number] = one.model_copy(update=update)


def _speakers_event(stored: StoredMeeting, changed: Sequence[int], labels: Sequence[str]) -> StoredEvent:
    payload: dict[str, Any] = {"labels": list(labels), "utterances": list(changed)}
    body = SpeakersChanged(
        utterances=[speaker_line(stored.utterances[number]) for number in changed],
        names={label: stored.names.get(label) for label in labels},
    )
    return StoredEvent(stored.append("speakers", payload), body)


def _require_label(stored: StoredMeeting, label: str) -> None:
    if label == PROVISIONAL or all(one.speaker != label for one in stored.utterances.values()):
        raise NotFoundError(f"No speaker of this meeting has the label {label}.")


def _rewrite_items(stored: StoredMeeting, change: Callable[[Any], Any]) -> None:
    stored.minutes = {version: change(document) for version, document in stored.minutes.items()}
    stored.events = [
        (kind, change(payload) if kind == "notes" else payload) for kind, payload in stored.events
    ]


def _with_names(stored: StoredMeeting, document: Any) -> Minutes:
    return Minutes.model_validate(document).with_names(lambda label: display_name(label, stored.names))


def _final(stored: StoredMeeting) -> MeetingFinished:
    minutes = _with_names(stored, stored.minutes[max(stored.minutes)]) if stored.minutes else None
    return final_event(stored.record, stored.transcript(), minutes)
