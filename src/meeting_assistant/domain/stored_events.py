"""Reduces durable events to what a store keeps, and restores them from what is true now. Pure.

Most of an event stands elsewhere already: in the transcript, the minutes, the meeting. Only the rest is kept with its
number, so that a client that comes back never reads an old name or a word that was taken off the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
from meeting_assistant.domain.transcript import Transcript, Utterance


def event_payload(body: DurableEvent) -> dict[str, Any]:
    """Return what of a `gap` or `notes` event cannot be made from anything else that is stored."""
    return body.model_dump(mode="json", exclude={"type"})


def event_body(
    kind: str,
    payload: Mapping[str, Any],
    *,
    meeting: Meeting,
    transcript: Transcript,
    utterances: Mapping[int, Utterance],
    minutes: Minutes | None,
) -> DurableEvent:
    """Make the event as it is true now. The payload holds utterance ids and labels where it does not hold all.

    `utterances` are those of the transcript by number: mapped once by the caller, for it makes thousands of events.
    """
    match kind:
        case "transcript":
            return utterance_event(utterances[payload["utterance"]])
        case "speakers":
            names = {speaker.label: speaker.name for speaker in transcript.speakers}
            return SpeakersChanged(
                names={label: names.get(label) for label in payload["labels"]},
                utterances=[
                    speaker_line(utterances[number])
                    for number in payload.get("utterances", [])
                    if number in utterances
                ],
            )
        case "notes":
            return NotesChanged.model_validate(payload).with_names(transcript.speaker_name)
        case "gap":
            return GapFound.model_validate(payload)
        case _:
            return final_event(meeting, transcript, minutes)


def utterance_event(utterance: Utterance) -> UtteranceFinished:
    """Return the event of an utterance."""
    return UtteranceFinished(**utterance.model_dump())


def speaker_line(utterance: Utterance) -> UtteranceSpeaker:
    """Return the line of a `speakers` event for an utterance that has a new speaker."""
    return UtteranceSpeaker(
        utterance=utterance.utterance,
        rev=utterance.rev,
        speaker=utterance.speaker,
        is_assigned=utterance.is_assigned,
    )


def final_event(meeting: Meeting, transcript: Transcript, minutes: Minutes | None) -> MeetingFinished:
    """Return the terminal event of a meeting."""
    return MeetingFinished(
        meeting=meeting,
        transcript=transcript,
        minutes=minutes,
        coverage=meeting.coverage,
        errors=meeting.errors,
    )
