"""What every store of meetings promises about meetings, their events and their offsets."""

from __future__ import annotations

import asyncio

import pytest

from meeting_assistant.domain.errors import ConflictError, NotFoundError
from meeting_assistant.domain.events import (
    GapFound,
    MeetingFinished,
    NotesChanged,
    SpeakersChanged,
    UtteranceFinished,
    off_record_gap,
)
from meeting_assistant.domain.meeting import Bookmark, Coverage, Meeting, MeetingState, OffRecord, StageError
from meeting_assistant.domain.minutes import Evidence, Item, Minutes
from meeting_assistant.domain.ports import MeetingStore
from meeting_assistant.domain.transcript import Gap, Speaker
from meeting_assistant.testing.harness.meeting_records import (
    ENGINES,
    create_meeting,
    finish_meeting,
    make_utterance,
)

NOWHERE = "01890000-0000-7000-8000-000000000000"


async def test_a_meeting_is_read_as_it_was_stored(store: MeetingStore, meeting: Meeting) -> None:
    assert await store.get(meeting.id) == meeting


async def test_unknown_ids_are_not_found(store: MeetingStore) -> None:
    for question in (
        store.get(NOWHERE),
        store.transcript(NOWHERE),
        store.last_seq(NOWHERE),
        store.delete(NOWHERE),
    ):
        with pytest.raises(NotFoundError):
            await question


async def test_meetings_are_listed_newest_first_in_pages(store: MeetingStore) -> None:
    ids = [(await create_meeting(store, f"m{number}")).id for number in range(5)]
    first = await store.recent(limit=2)
    second = await store.recent(limit=2, before=first[-1].id)
    assert [m.id for m in first + second] == ids[::-1][:4]


async def test_utterances_are_read_in_order_with_words_and_speakers(
    store: MeetingStore, meeting: Meeting
) -> None:
    await store.commit_utterances(meeting.id, [make_utterance(2, "No.", "S2")], 48_000)
    await store.commit_utterances(meeting.id, [make_utterance(1)], 32_000)
    transcript = await store.transcript(meeting.id)
    assert transcript.utterances == [make_utterance(1), make_utterance(2, "No.", "S2")]
    assert transcript.speakers == [Speaker(label="S1"), Speaker(label="S2")]
    assert (await store.get(meeting.id)).committed_sample == 48_000


async def test_a_repeated_utterance_is_stored_once(store: MeetingStore, meeting: Meeting) -> None:
    [first] = await store.commit_utterances(meeting.id, [make_utterance(1)], 32_000)
    [again] = await store.commit_utterances(meeting.id, [make_utterance(1, "Other words.")], 32_000)
    assert again == first, "what is stored is returned, not what was refused"
    assert (await store.transcript(meeting.id)).utterances == [make_utterance(1)]
    assert await store.last_seq(meeting.id) == 1


async def test_a_higher_revision_replaces_the_utterance(store: MeetingStore, meeting: Meeting) -> None:
    await store.commit_utterances(meeting.id, [make_utterance(1)], 32_000)
    await store.commit_utterances(meeting.id, [make_utterance(1, "We slip on Friday.", rev=2)], 32_000)
    assert (await store.transcript(meeting.id)).utterances == [make_utterance(1, "We slip on Friday.", rev=2)]
    assert await store.last_seq(meeting.id) == 2


async def test_offsets_never_move_backwards(store: MeetingStore, meeting: Meeting) -> None:
    for value in (100, 50):
        await store.set_received(meeting.id, value)
        await store.commit_sample(meeting.id, value)
    stored = await store.get(meeting.id)
    assert (stored.received_bytes, stored.committed_sample) == (100, 100)


async def test_event_numbers_have_no_gap_under_concurrent_writes(
    store: MeetingStore, meeting: Meeting
) -> None:
    numbers = range(1, 51)
    stored = await asyncio.gather(
        *(store.commit_utterances(meeting.id, [make_utterance(n)], n) for n in numbers)
    )
    assert sorted(event.seq for events in stored for event in events) == list(numbers)
    assert [event.seq for event in await store.events_after(meeting.id, 0)] == list(numbers)


async def test_missed_events_are_read_in_their_present_state(store: MeetingStore, meeting: Meeting) -> None:
    await store.commit_utterances(meeting.id, [make_utterance(1)], 1)
    await store.append_event(meeting.id, GapFound(start_ms=5, end_ms=9, reason="engine_failed"))
    await store.rename_speaker(meeting.id, "S1", "Anna")
    await store.rename_speaker(meeting.id, "S1", "Ana")
    minutes = Minutes(decisions=[Item(id="d1", text="Ship", evidence=[Evidence(utterance=1, quote="ship")])])
    finished = await finish_meeting(store, meeting, minutes)
    bodies = {event.seq: event.body for event in await store.events_after(meeting.id, 0)}
    assert list(bodies) == [1, 2, 3, 4, 5]
    assert isinstance(bodies[1], UtteranceFinished)
    assert isinstance(bodies[3], SpeakersChanged)
    assert bodies[3].names == {"S1": "Ana"}
    final = bodies[finished.seq]
    assert final == finished.body
    assert isinstance(final, MeetingFinished)
    assert final.minutes == minutes
    assert final.transcript.gaps == [Gap(start_ms=5, end_ms=9, reason="engine_failed")]
    assert final.transcript.speaker_name("S1") == "Ana"
    assert [event.seq for event in await store.events_after(meeting.id, 3)] == [4, 5]


async def test_a_write_returns_the_events_that_a_reconnecting_client_reads(
    store: MeetingStore, meeting: Meeting
) -> None:
    stored = await store.commit_utterances(meeting.id, [make_utterance(1), make_utterance(2, "No.", "S2")], 1)
    stored += await store.rename_speaker(meeting.id, "S1", "Ana")
    ben = await store.add_speaker(meeting.id, "Ben")
    [relabelled] = await store.relabel(meeting.id, {2: ben}, by_person=True)
    assert isinstance(relabelled.body, SpeakersChanged)
    assert relabelled.body.names == {ben: "Ben"}, "a label that is new brings its name"
    item = Item(id="d1", text="{S1} ships.", evidence=[Evidence(utterance=1, quote="ship")])
    [noted] = await store.append_event(meeting.id, NotesChanged(decisions=[item]))
    assert isinstance(noted.body, NotesChanged)
    assert noted.body.decisions[0].text == "Ana ships."
    stored += [relabelled, noted]
    stored += await store.append_event(meeting.id, GapFound(start_ms=5, end_ms=9, reason="engine_failed"))
    stored.append(await finish_meeting(store, meeting, Minutes(decisions=[item])))
    missed = await store.events_after(meeting.id, 0)
    assert [event.seq for event in stored] == [event.seq for event in missed] == [1, 2, 3, 4, 5, 6, 7]
    assert stored[2:] == missed[2:]


async def test_redacted_words_leave_gaps(store: MeetingStore, meeting: Meeting) -> None:
    await store.commit_utterances(
        meeting.id, [make_utterance(1), make_utterance(2), make_utterance(3)], 64_000
    )
    await store.add_bookmark(meeting.id, Bookmark(at_ms=1500, note="here"))
    item = Item(id="d1", text="Ship", evidence=[Evidence(utterance=1, quote="ship")])
    await store.append_event(meeting.id, NotesChanged(decisions=[item]))
    await finish_meeting(store, meeting, Minutes(decisions=[item]))
    last = await store.last_seq(meeting.id)
    span = OffRecord(start_sample=16_000, end_sample=40_000)
    left = make_utterance(2, "Friday.", rev=2)
    stored = await store.redact(meeting.id, [span], [left], [1])
    assert [(event.seq, event.body) for event in stored] == [(last + 1, off_record_gap(span))]
    assert stored == await store.events_after(meeting.id, last)
    assert await store.redact(meeting.id, [span], [left], [1]) == [], "nothing of it is new"
    transcript = await store.transcript(meeting.id)
    assert transcript.utterances == [left, make_utterance(3)]
    assert transcript.gaps == [Gap(start_ms=1000, end_ms=2500, reason="off_the_record")]
    assert await store.minutes(meeting.id) is None
    assert await store.notes(meeting.id) == [NotesChanged()]
    stored_meeting = await store.get(meeting.id)
    assert (stored_meeting.off_record, stored_meeting.bookmarks) == ([span], [])


async def test_finishing_a_hundred_times_at_once_gives_one_result(
    store: MeetingStore, meeting: Meeting
) -> None:
    await store.set_state(meeting.id, MeetingState.PROCESSING)
    attempts = [
        store.finish(meeting.id, minutes=Minutes(), coverage=Coverage(), duration_ms=1, engines=ENGINES)
        for _ in range(100)
    ]
    finals = await asyncio.gather(*attempts)
    assert [[event.seq for event in events] for events in finals] == [[1]] * 100
    assert finals == [await store.events_after(meeting.id, 0)] * 100
    assert await store.minutes(meeting.id) == Minutes()
    assert (await store.get(meeting.id)).state is MeetingState.DONE


async def test_a_meeting_only_moves_forward(store: MeetingStore, meeting: Meeting) -> None:
    with pytest.raises(ConflictError):
        await store.finish(meeting.id, minutes=None, coverage=Coverage(), duration_ms=1, engines=ENGINES)
    await finish_meeting(store, meeting)
    with pytest.raises(ConflictError):
        await store.set_state(meeting.id, MeetingState.RECORDING)
    await store.set_state(meeting.id, MeetingState.DONE)


async def test_unfinished_meetings_are_found(store: MeetingStore) -> None:
    recording, processing, done = [await create_meeting(store) for _ in range(3)]
    await store.set_state(processing.id, MeetingState.PROCESSING)
    await finish_meeting(store, done)
    assert [m.id for m in await store.unfinished()] == [recording.id, processing.id]


async def test_titles_errors_bookmarks_and_epochs_are_stored(store: MeetingStore, meeting: Meeting) -> None:
    error = StageError(stage="minutes", code="x", message="It failed.", remedy="Try again.")
    await store.set_title(meeting.id, "Other")
    await store.add_error(meeting.id, error)
    await store.add_bookmark(meeting.id, Bookmark(at_ms=5, note="here"))
    assert await store.take_over(meeting.id) == 2
    stored = await store.get(meeting.id)
    assert (stored.title, stored.epoch, stored.errors) == ("Other", 2, [error])
    assert stored.bookmarks == [Bookmark(at_ms=5, note="here")]


async def test_spans_off_the_record_are_stored_one_by_one(store: MeetingStore, meeting: Meeting) -> None:
    async def spans() -> list[tuple[int, int | None]]:
        return [(one.start_sample, one.end_sample) for one in (await store.get(meeting.id)).off_record]

    for _ in range(2):
        await store.begin_off_record(meeting.id, 10)
    assert await spans() == [(10, None)]
    await store.end_off_record(meeting.id, 10, 20)
    await store.begin_off_record(meeting.id, 30)
    assert await spans() == [(10, 20), (30, None)]
    await store.end_off_record(meeting.id, 30, 30)
    assert await spans() == [(10, 20)]
    await store.end_off_record(meeting.id, 40, 50)
    assert await spans() == [(10, 20), (40, 50)], "a beginning that could not be stored is made good"


async def test_deleting_a_meeting_removes_all_of_its_data_and_nothing_else(
    store: MeetingStore, meeting: Meeting
) -> None:
    other = await create_meeting(store)
    for each in (meeting, other):
        await store.commit_utterances(each.id, [make_utterance(1)], 1)
    await store.delete(meeting.id)
    with pytest.raises(NotFoundError):
        await store.get(meeting.id)
    assert len((await store.transcript(other.id)).utterances) == 1


async def test_the_check_writes_and_leaves_nothing(store: MeetingStore) -> None:
    assert await store.check() == await store.check()


async def test_a_cancelled_caller_leaves_no_lock_behind(store: MeetingStore, meeting: Meeting) -> None:
    for steps in range(40):
        writing = asyncio.create_task(store.set_title(meeting.id, f"Title {steps}"))
        for _ in range(steps):
            await asyncio.sleep(0)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await store.set_title(meeting.id, "Afterwards")
    assert (await store.get(meeting.id)).title == "Afterwards"
