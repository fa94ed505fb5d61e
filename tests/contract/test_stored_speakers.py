"""What every store of meetings promises about speakers and their names."""

from __future__ import annotations

import pytest
import uuid_utils

from meeting_assistant.domain.errors import ConflictError, NotFoundError
from meeting_assistant.domain.events import SpeakersChanged
from meeting_assistant.domain.meeting import YOU, Coverage, Meeting, MeetingState
from meeting_assistant.domain.minutes import ActionItem, Evidence, Minutes
from meeting_assistant.domain.ports import MeetingStore
from meeting_assistant.domain.transcript import PROVISIONAL, Speaker
from meeting_assistant.testing.harness.meeting_records import ENGINES, commit_sentences, make_utterance


async def test_only_a_speaker_of_the_transcript_can_be_named(store: MeetingStore, meeting: Meeting) -> None:
    with pytest.raises(NotFoundError):
        await store.rename_speaker(meeting.id, "S1", "Ana")
    assert await store.last_seq(meeting.id) == 0


async def test_a_name_suggested_by_an_engine_does_not_replace_another(
    store: MeetingStore, meeting: Meeting
) -> None:
    await store.commit_utterances(meeting.id, [make_utterance(1)], 1)
    [event] = await store.rename_speaker(meeting.id, "S1", "Ana", keep_present=True)
    assert event.body == SpeakersChanged(names={"S1": "Ana"})
    assert await store.rename_speaker(meeting.id, "S1", "Ben", keep_present=True) == []
    assert await store.speaker_names(meeting.id) == {"S1": "Ana"}


async def labels_of(store: MeetingStore, meeting: Meeting) -> list[str | None]:
    return [utterance.speaker for utterance in (await store.transcript(meeting.id)).utterances]


async def test_segments_of_an_utterance_are_committed_together(store: MeetingStore, meeting: Meeting) -> None:
    events = await store.commit_utterances(
        meeting.id, [make_utterance(1), make_utterance(3, "No.", "S2")], 32_000
    )
    assert [event.seq for event in events] == [1, 2]
    assert await labels_of(store, meeting) == ["S1", "S2"]


async def test_relabelling_is_one_event_and_raises_revisions(store: MeetingStore, meeting: Meeting) -> None:
    await commit_sentences(store, meeting, "S1", PROVISIONAL, "S2")
    assert [s.label for s in (await store.transcript(meeting.id)).speakers] == ["S1", "S2"], (
        "`S?` is not a speaker"
    )
    [event] = await store.relabel(meeting.id, {2: "S1", 3: "S1"})
    assert await labels_of(store, meeting) == ["S1", "S1", "S1"]
    notified = await store.events_after(meeting.id, event.seq - 1)
    assert notified == [event]
    assert isinstance(event.body, SpeakersChanged)
    assert [(line.utterance, line.rev, line.speaker) for line in event.body.utterances] == [
        (2, 2, "S1"),
        (3, 2, "S1"),
    ]
    assert await store.relabel(meeting.id, {2: "S1"}) == [], "without a change there is no event"


async def test_an_engine_does_not_change_labels_assigned_by_a_person(
    store: MeetingStore, meeting: Meeting
) -> None:
    await commit_sentences(store, meeting, "S1", "S1")
    ben = await store.add_speaker(meeting.id, "Ben")
    assert ben == "P1"
    await store.relabel(meeting.id, {2: ben}, by_person=True)
    assert await store.relabel(meeting.id, {2: "S1"}) == []
    transcript = await store.transcript(meeting.id)
    assert [u.is_assigned for u in transcript.utterances] == [False, True]
    assert transcript.speakers == [Speaker(label="S1"), Speaker(label="P1", name="Ben")]
    assert await store.add_speaker(meeting.id, None) == "P2"


async def test_merged_labels_stay_merged(store: MeetingStore, meeting: Meeting) -> None:
    await commit_sentences(store, meeting, "S1", "S2", "S3")
    await store.rename_speaker(meeting.id, "S3", "Ana")
    await store.merge_speakers(meeting.id, "S2", "S1")
    [event] = await store.merge_speakers(meeting.id, "S3", "S1")
    assert isinstance(event.body, SpeakersChanged)
    assert event.body.names == {"S1": "Ana"}, "a name goes along"
    await store.commit_utterances(
        meeting.id, [make_utterance(4, "And more.", "S2"), make_utterance(5, "Yes.", "S3")], 32_000
    )
    assert await labels_of(store, meeting) == ["S1"] * 5
    await store.relabel(meeting.id, {4: "S3"})
    assert await labels_of(store, meeting) == ["S1"] * 5
    with pytest.raises(NotFoundError):
        await store.merge_speakers(meeting.id, "S9", "S1")
    with pytest.raises(ConflictError):
        await store.merge_speakers(meeting.id, "S1", "S1")


def task(owner: str, utterance: int) -> ActionItem:
    return ActionItem(
        id=f"a{utterance}",
        text=f"{{{owner}}} sends the plan.",
        owner=owner,
        evidence=[Evidence(utterance=utterance, quote="Sentence", start_ms=0)],
    )


async def test_minutes_follow_changes_of_speakers(store: MeetingStore, meeting: Meeting) -> None:
    await commit_sentences(store, meeting, "S1", "S2", "S2")
    await store.set_state(meeting.id, MeetingState.PROCESSING)
    minutes = Minutes(action_items=[task("S1", 1), task("S2", 2), task("S2", 3)])
    await store.finish(meeting.id, minutes=minutes, coverage=Coverage(), duration_ms=0, engines=ENGINES)

    await store.relabel(meeting.id, {2: await store.add_speaker(meeting.id, "Ben")}, by_person=True)
    written = await store.minutes(meeting.id)
    assert written is not None
    assert [item.owner for item in written.action_items] == ["S1", "P1", "S2"]
    assert written.action_items[1].text == "Ben sends the plan."

    await store.rename_speaker(meeting.id, "S1", "Ana")
    await store.merge_speakers(meeting.id, "S2", "S1")
    written = await store.minutes(meeting.id)
    assert written is not None
    assert [item.owner for item in written.action_items] == ["S1", "P1", "S1"]
    assert written.action_items[2].text == "Ana sends the plan."


async def test_overlap_is_marked_in_the_utterance(store: MeetingStore, meeting: Meeting) -> None:
    await commit_sentences(store, meeting, "S1", "S2")
    events = await store.mark_overlap(meeting.id, [2, 9])
    assert [event.seq for event in events] == [3]
    assert await store.events_after(meeting.id, 2) == events
    assert [(u.rev, u.overlap) for u in (await store.transcript(meeting.id)).utterances] == [
        (1, False),
        (2, True),
    ]
    assert await store.mark_overlap(meeting.id, [2]) == [], "it is marked already"


async def test_owners_follow_labels_that_an_engine_corrects_later(
    store: MeetingStore, meeting: Meeting
) -> None:
    await commit_sentences(store, meeting, "S1", "S2", "S2", "S2")
    await store.set_state(meeting.id, MeetingState.PROCESSING)
    asked_and_answered = task("S2", 2).model_copy(
        update={"evidence": [Evidence(utterance=n, quote="Sentence") for n in (1, 2)]}
    )
    by_hand = task("S2", 3).model_copy(update={"is_edited": True})
    said_twice = task("S2", 4).model_copy(
        update={"evidence": [Evidence(utterance=n, quote="Sentence") for n in (3, 4)]}
    )
    minutes = Minutes(action_items=[asked_and_answered, by_hand, said_twice])
    await store.finish(meeting.id, minutes=minutes, coverage=Coverage(), duration_ms=0, engines=ENGINES)
    await store.relabel(meeting.id, {2: "S3", 3: "S3"})
    written = await store.minutes(meeting.id)
    assert written is not None
    assert [item.owner for item in written.action_items] == ["S3", "S2", "S2"]
    assert written.action_items[0].text == "Speaker 3 sends the plan."


async def test_the_first_of_two_channels_is_labelled_you(store: MeetingStore) -> None:
    meeting = Meeting(
        id=str(uuid_utils.uuid7()),
        title="Call",
        state=MeetingState.RECORDING,
        source="live",
        channels=2,
        created_at_ms=0,
    )
    await store.create(meeting)
    await commit_sentences(store, meeting, YOU)
    assert (await store.get(meeting.id)).channels == 2
    assert (await store.transcript(meeting.id)).speakers == [Speaker(label=YOU, name="You")]
