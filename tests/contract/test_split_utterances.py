"""What every store of meetings promises about utterances that are split, by an engine or by hand."""

from __future__ import annotations

import pytest

from meeting_assistant.domain.errors import ConflictError, InputError, NotFoundError
from meeting_assistant.domain.events import NotesChanged
from meeting_assistant.domain.meeting import Meeting
from meeting_assistant.domain.minutes import Evidence, Item, Minutes
from meeting_assistant.domain.ports import MeetingStore
from meeting_assistant.testing.harness.meeting_records import commit_sentences, finish_meeting, make_utterance


async def test_a_split_keeps_the_position_of_the_utterance(store: MeetingStore, meeting: Meeting) -> None:
    await commit_sentences(store, meeting, "S1", "S1")
    whole = (await store.transcript(meeting.id)).utterances[0]
    half = (whole.start_ms + whole.end_ms) // 2
    parts = [
        whole.model_copy(update={"rev": 2, "end_ms": half, "text": "Sentence"}),
        whole.model_copy(update={"utterance": 3, "start_ms": half, "text": "1.", "speaker": "S2"}),
    ]
    events = await store.split_utterances(meeting.id, {1: parts})
    assert [event.seq for event in events] == [3, 4]
    found = (await store.transcript(meeting.id)).utterances
    assert [(u.utterance, u.text, u.speaker) for u in found] == [
        (1, "Sentence", "S1"),
        (3, "1.", "S2"),
        (2, "Sentence 2.", "S1"),
    ]


async def test_a_split_of_an_outdated_revision_is_ignored(store: MeetingStore, meeting: Meeting) -> None:
    await commit_sentences(store, meeting, "S1", "S2")
    whole = (await store.transcript(meeting.id)).utterances[0]
    parts = [
        whole.model_copy(update={"rev": 2, "text": "Sentence"}),
        whole.model_copy(update={"utterance": 3, "text": "1."}),
    ]
    await store.merge_speakers(meeting.id, "S1", "S2")
    assert await store.split_utterances(meeting.id, {1: parts}) == []
    assert [u.text for u in (await store.transcript(meeting.id)).utterances] == ["Sentence 1.", "Sentence 2."]


async def test_parts_get_ids_that_are_unused_when_they_are_stored(
    store: MeetingStore, meeting: Meeting
) -> None:
    await commit_sentences(store, meeting, "S1", "S1")
    whole = (await store.transcript(meeting.id)).utterances[0]
    parts = [
        whole.model_copy(update={"rev": 2, "text": "Sentence"}),
        whole.model_copy(update={"utterance": 2, "text": "1."}),
    ]
    await store.split_utterances(meeting.id, {1: parts})
    found = {u.utterance: u.text for u in (await store.transcript(meeting.id)).utterances}
    assert found == {1: "Sentence", 2: "Sentence 2.", 3: "1."}


TWO_VOICES = "Who takes the slides? I will send them."


async def store_quoted_utterances(store: MeetingStore, meeting: Meeting) -> None:
    """Two sentences in one utterance, quoted apart and together by the minutes."""
    lines = [make_utterance(1, TWO_VOICES), make_utterance(2, "Thank you.", "S2")]
    await store.commit_utterances(meeting.id, lines, 48_000)
    quotes = ("Who takes the slides?", "I will send them.", TWO_VOICES)
    summary = [
        Item(id=f"s{n}", text=quote, evidence=[Evidence(utterance=1, quote=quote)])
        for n, quote in enumerate(quotes, start=1)
    ]
    await store.append_event(meeting.id, NotesChanged(decisions=summary[1:2]))
    await finish_meeting(store, meeting, Minutes(summary=summary))


async def test_evidence_cites_the_matching_part_after_a_split_by_hand(
    store: MeetingStore, meeting: Meeting
) -> None:
    await store_quoted_utterances(store, meeting)
    last = await store.last_seq(meeting.id)
    events = await store.cut_utterance(meeting.id, 1, 4, not_during="rewrite")
    assert [event.seq for event in events] == [last + 1, last + 2]
    assert await store.events_after(meeting.id, last) == events
    found = (await store.transcript(meeting.id)).utterances
    assert [(u.utterance, u.rev, u.text) for u in found] == [
        (1, 2, "Who takes the slides?"),
        (3, 1, "I will send them."),
        (2, 1, "Thank you."),
    ]
    assert [word.text for u in found[:2] for word in u.words] == TWO_VOICES.split()
    minutes = await store.minutes(meeting.id)
    assert minutes is not None
    assert [[(e.utterance, e.quote) for e in item.evidence] for item in minutes.summary] == [
        [(1, "Who takes the slides?")],
        [(3, "I will send them.")],
        [(1, "Who takes the slides?"), (3, "I will send them.")],
    ]
    [notes] = await store.notes(meeting.id)
    assert notes.decisions[0].evidence == [Evidence(utterance=3, quote="I will send them.")]


async def test_a_part_can_be_relabelled_and_split_again(store: MeetingStore, meeting: Meeting) -> None:
    await store_quoted_utterances(store, meeting)
    await store.cut_utterance(meeting.id, 1, 4, not_during="rewrite")
    await store.relabel(meeting.id, {3: "S2"}, by_person=True)
    await store.cut_utterance(meeting.id, 3, 2, not_during="rewrite")
    found = (await store.transcript(meeting.id)).utterances
    assert [(u.utterance, u.speaker, u.text) for u in found] == [
        (1, "S1", "Who takes the slides?"),
        (3, "S2", "I will"),
        (4, "S2", "send them."),
        (2, "S2", "Thank you."),
    ]


async def test_an_unknown_utterance_or_position_cannot_be_split(
    store: MeetingStore, meeting: Meeting
) -> None:
    await store_quoted_utterances(store, meeting)
    with pytest.raises(NotFoundError):
        await store.cut_utterance(meeting.id, 9, 1, not_during="rewrite")
    with pytest.raises(InputError):
        await store.cut_utterance(meeting.id, 1, 8, not_during="rewrite")
    assert len((await store.transcript(meeting.id)).utterances) == 2


async def test_no_utterance_is_split_by_hand_while_minutes_are_written(
    store: MeetingStore, meeting: Meeting
) -> None:
    await store.commit_utterances(meeting.id, [make_utterance(1, TWO_VOICES)], 48_000)
    with pytest.raises(ConflictError):
        await store.cut_utterance(meeting.id, 1, 4, not_during="rewrite")
    await finish_meeting(store, meeting, Minutes())
    await store.begin_step(meeting.id, "rewrite", can_repeat=True)
    with pytest.raises(ConflictError):
        await store.cut_utterance(meeting.id, 1, 4, not_during="rewrite")
    await store.end_step(meeting.id, "rewrite")
    assert len(await store.cut_utterance(meeting.id, 1, 4, not_during="rewrite")) == 2
