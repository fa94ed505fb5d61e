"""Records of meetings for tests of a store: a meeting, its utterances, its end."""

from __future__ import annotations

import uuid_utils

from meeting_assistant.domain.meeting import Coverage, Meeting, MeetingState
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.ports import MeetingStore, StoredEvent
from meeting_assistant.domain.transcript import Utterance, Word

ENGINES = {"asr": "test"}


async def create_meeting(store: MeetingStore, title: str = "Planning") -> Meeting:
    """Store a meeting that is being recorded."""
    meeting = Meeting(
        id=str(uuid_utils.uuid7()),
        title=title,
        state=MeetingState.RECORDING,
        source="live",
        created_at_ms=1_700_000_000_000,
        vocabulary=["kubectl"],
        attendees=["Ana", "Ben"],
        engines=ENGINES,
    )
    await store.create(meeting)
    return meeting


def make_utterance(
    number: int, text: str = "We ship on Friday.", speaker: str | None = "S1", rev: int = 1
) -> Utterance:
    """Return an utterance that starts at as many seconds as its number says, with ten words a second."""
    start = number * 1000
    words = [
        Word(text=word, start_ms=start + 100 * i, end_ms=start + 100 * (i + 1))
        for i, word in enumerate(text.split())
    ]
    return Utterance(
        utterance=number, rev=rev, start_ms=start, end_ms=start + 900, speaker=speaker, text=text, words=words
    )


async def commit_sentences(store: MeetingStore, meeting: Meeting, *speakers: str | None) -> None:
    """Store utterances 1, 2, … by these speakers: `Sentence 1.`, `Sentence 2.`, …."""
    utterances = [make_utterance(n, f"Sentence {n}.", speaker) for n, speaker in enumerate(speakers, start=1)]
    await store.commit_utterances(meeting.id, utterances, 16_000)


async def finish_meeting(
    store: MeetingStore, meeting: Meeting, minutes: Minutes | None = None
) -> StoredEvent:
    """Finish a meeting that is being recorded; returns the event that says so."""
    await store.set_state(meeting.id, MeetingState.PROCESSING)
    [final] = await store.finish(
        meeting.id, minutes=minutes, coverage=Coverage(captured_s=1.0), duration_ms=1000, engines=ENGINES
    )
    return final
