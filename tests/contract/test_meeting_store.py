"""What every store of meetings promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import uuid_utils

from meeting_assistant.adapters.storage.sql.database import Database
from meeting_assistant.adapters.storage.sql.meeting_store import SqlMeetingStore
from meeting_assistant.domain.errors import ConflictError, InputError, NotFoundError
from meeting_assistant.domain.events import (
    GapFound,
    MeetingFinished,
    NotesChanged,
    SpeakersChanged,
    UtteranceFinished,
    off_record_gap,
)
from meeting_assistant.domain.meeting import (
    YOU,
    Bookmark,
    Coverage,
    Meeting,
    MeetingState,
    OffRecord,
    StageError,
)
from meeting_assistant.domain.minutes import ActionItem, Evidence, Item, Minutes
from meeting_assistant.domain.ports import MeetingStore, StoredEvent
from meeting_assistant.domain.transcript import PROVISIONAL, Gap, Speaker, Utterance, Word
from meeting_assistant.testing.doubles.memory_store import MemoryMeetingStore

ENGINES = {"asr": "test"}
NOWHERE = "01890000-0000-7000-8000-000000000000"


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(
    request: pytest.FixtureRequest, new_database_url: Callable[[str], str]
) -> AsyncIterator[MeetingStore]:
    store: MeetingStore
    if request.param == "memory":
        store = MemoryMeetingStore()
    else:
        store = SqlMeetingStore(Database(new_database_url(request.param)))
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def meeting(store: MeetingStore) -> Meeting:
    return await create(store)


async def create(store: MeetingStore, title: str = "Planning") -> Meeting:
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
    start = number * 1000
    words = [
        Word(text=word, start_ms=start + 100 * i, end_ms=start + 100 * (i + 1))
        for i, word in enumerate(text.split())
    ]
    return Utterance(
        utterance=number, rev=rev, start_ms=start, end_ms=start + 900, speaker=speaker, text=text, words=words
    )


async def finish(store: MeetingStore, meeting: Meeting, minutes: Minutes | None = None) -> StoredEvent:
    await store.set_state(meeting.id, MeetingState.PROCESSING)
    [final] = await store.finish(
        meeting.id, minutes=minutes, coverage=Coverage(captured_s=1.0), duration_ms=1000, engines=ENGINES
    )
    return final


async def test_a_record_comes_back_as_it_was(store: MeetingStore, meeting: Meeting) -> None:
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
    ids = [(await create(store, f"m{number}")).id for number in range(5)]
    first = await store.recent(limit=2)
    second = await store.recent(limit=2, before=first[-1].id)
    assert [m.id for m in first + second] == ids[::-1][:4]


async def test_utterances_come_back_in_order_with_words_and_speakers(
    store: MeetingStore, meeting: Meeting
) -> None:
    await store.commit_utterances(meeting.id, [make_utterance(2, "No.", "S2")], 48_000)
    await store.commit_utterances(meeting.id, [make_utterance(1)], 32_000)
    transcript = await store.transcript(meeting.id)
    assert transcript.utterances == [make_utterance(1), make_utterance(2, "No.", "S2")]
    assert transcript.speakers == [Speaker(label="S1"), Speaker(label="S2")]
    assert (await store.get(meeting.id)).committed_sample == 48_000


async def test_the_same_utterance_twice_is_stored_once(store: MeetingStore, meeting: Meeting) -> None:
    [first] = await store.commit_utterances(meeting.id, [make_utterance(1)], 32_000)
    [again] = await store.commit_utterances(meeting.id, [make_utterance(1, "Other words.")], 32_000)
    assert again == first, "what is stored is returned, not what was refused"
    assert (await store.transcript(meeting.id)).utterances == [make_utterance(1)]
    assert await store.last_seq(meeting.id) == 1


async def test_a_higher_revision_replaces_in_place(store: MeetingStore, meeting: Meeting) -> None:
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


async def test_numbers_have_no_gap_however_many_write_at_once(store: MeetingStore, meeting: Meeting) -> None:
    numbers = range(1, 51)
    stored = await asyncio.gather(
        *(store.commit_utterances(meeting.id, [make_utterance(n)], n) for n in numbers)
    )
    assert sorted(event.seq for events in stored for event in events) == list(numbers)
    assert [event.seq for event in await store.events_after(meeting.id, 0)] == list(numbers)


async def test_missed_events_are_told_as_things_are_now(store: MeetingStore, meeting: Meeting) -> None:
    await store.commit_utterances(meeting.id, [make_utterance(1)], 1)
    await store.append_event(meeting.id, GapFound(start_ms=5, end_ms=9, reason="engine_failed"))
    await store.rename_speaker(meeting.id, "S1", "Anna")
    await store.rename_speaker(meeting.id, "S1", "Ana")
    minutes = Minutes(decisions=[Item(id="d1", text="Ship", evidence=[Evidence(utterance=1, quote="ship")])])
    finished = await finish(store, meeting, minutes)
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


async def test_a_write_returns_what_a_client_that_comes_back_reads(
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
    stored.append(await finish(store, meeting, Minutes(decisions=[item])))
    missed = await store.events_after(meeting.id, 0)
    assert [event.seq for event in stored] == [event.seq for event in missed] == [1, 2, 3, 4, 5, 6, 7]
    assert stored[2:] == missed[2:]


async def test_words_that_are_taken_out_leave_gaps(store: MeetingStore, meeting: Meeting) -> None:
    await store.commit_utterances(
        meeting.id, [make_utterance(1), make_utterance(2), make_utterance(3)], 64_000
    )
    await store.add_bookmark(meeting.id, Bookmark(at_ms=1500, note="here"))
    item = Item(id="d1", text="Ship", evidence=[Evidence(utterance=1, quote="ship")])
    await store.append_event(meeting.id, NotesChanged(decisions=[item]))
    await finish(store, meeting, Minutes(decisions=[item]))
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


async def test_only_a_speaker_who_spoke_can_be_named(store: MeetingStore, meeting: Meeting) -> None:
    with pytest.raises(NotFoundError):
        await store.rename_speaker(meeting.id, "S1", "Ana")
    assert await store.last_seq(meeting.id) == 0


async def test_a_name_that_an_engine_suggests_does_not_replace_one(
    store: MeetingStore, meeting: Meeting
) -> None:
    await store.commit_utterances(meeting.id, [make_utterance(1)], 1)
    [event] = await store.rename_speaker(meeting.id, "S1", "Ana", keep_present=True)
    assert event.body == SpeakersChanged(names={"S1": "Ana"})
    assert await store.rename_speaker(meeting.id, "S1", "Ben", keep_present=True) == []
    assert await store.speaker_names(meeting.id) == {"S1": "Ana"}


async def test_finishing_a_hundred_times_at_once_gives_one_result(
    store: MeetingStore, meeting: Meeting
) -> None:
    await store.set_state(meeting.id, MeetingState.PROCESSING)
    asked = [
        store.finish(meeting.id, minutes=Minutes(), coverage=Coverage(), duration_ms=1, engines=ENGINES)
        for _ in range(100)
    ]
    finals = await asyncio.gather(*asked)
    assert [[event.seq for event in events] for events in finals] == [[1]] * 100
    assert finals == [await store.events_after(meeting.id, 0)] * 100
    assert await store.minutes(meeting.id) == Minutes()
    assert (await store.get(meeting.id)).state is MeetingState.DONE


async def test_a_meeting_only_moves_forward(store: MeetingStore, meeting: Meeting) -> None:
    with pytest.raises(ConflictError):
        await store.finish(meeting.id, minutes=None, coverage=Coverage(), duration_ms=1, engines=ENGINES)
    await finish(store, meeting)
    with pytest.raises(ConflictError):
        await store.set_state(meeting.id, MeetingState.RECORDING)
    await store.set_state(meeting.id, MeetingState.DONE)


async def test_what_is_unfinished_is_found(store: MeetingStore) -> None:
    recording, processing, done = [await create(store) for _ in range(3)]
    await store.set_state(processing.id, MeetingState.PROCESSING)
    await finish(store, done)
    assert [m.id for m in await store.unfinished()] == [recording.id, processing.id]


async def test_titles_errors_bookmarks_and_epochs(store: MeetingStore, meeting: Meeting) -> None:
    error = StageError(stage="minutes", code="x", message="It failed.", remedy="Try again.")
    await store.set_title(meeting.id, "Other")
    await store.add_error(meeting.id, error)
    await store.add_bookmark(meeting.id, Bookmark(at_ms=5, note="here"))
    assert await store.take_over(meeting.id) == 2
    stored = await store.get(meeting.id)
    assert (stored.title, stored.epoch, stored.errors) == ("Other", 2, [error])
    assert stored.bookmarks == [Bookmark(at_ms=5, note="here")]


async def test_deleting_removes_everything_of_it_and_nothing_else(
    store: MeetingStore, meeting: Meeting
) -> None:
    other = await create(store)
    for each in (meeting, other):
        await store.commit_utterances(each.id, [make_utterance(1)], 1)
    await store.delete(meeting.id)
    with pytest.raises(NotFoundError):
        await store.get(meeting.id)
    assert len((await store.transcript(other.id)).utterances) == 1


async def test_check_writes_for_real_and_leaves_nothing(store: MeetingStore) -> None:
    assert await store.check() == await store.check()


async def test_a_caller_that_is_cancelled_leaves_no_lock_behind(
    store: MeetingStore, meeting: Meeting
) -> None:
    for steps in range(40):
        writing = asyncio.create_task(store.set_title(meeting.id, f"Title {steps}"))
        for _ in range(steps):
            await asyncio.sleep(0)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await store.set_title(meeting.id, "Afterwards")
    assert (await store.get(meeting.id)).title == "Afterwards"


# --- who said it


async def talk(store: MeetingStore, meeting: Meeting, *speakers: str | None) -> None:
    """Utterances 1, 2, … by these speakers."""
    utterances = [make_utterance(n, f"Sentence {n}.", speaker) for n, speaker in enumerate(speakers, start=1)]
    await store.commit_utterances(meeting.id, utterances, 16_000)


async def labels(store: MeetingStore, meeting: Meeting) -> list[str | None]:
    return [utterance.speaker for utterance in (await store.transcript(meeting.id)).utterances]


async def test_parts_of_an_utterance_become_durable_together(store: MeetingStore, meeting: Meeting) -> None:
    events = await store.commit_utterances(
        meeting.id, [make_utterance(1), make_utterance(3, "No.", "S2")], 32_000
    )
    assert [event.seq for event in events] == [1, 2]
    assert await labels(store, meeting) == ["S1", "S2"]


async def test_relabelling_is_one_event_and_raises_revisions(store: MeetingStore, meeting: Meeting) -> None:
    await talk(store, meeting, "S1", PROVISIONAL, "S2")
    assert [s.label for s in (await store.transcript(meeting.id)).speakers] == ["S1", "S2"], "`S?` is nobody"
    [event] = await store.relabel(meeting.id, {2: "S1", 3: "S1"})
    assert await labels(store, meeting) == ["S1", "S1", "S1"]
    notified = await store.events_after(meeting.id, event.seq - 1)
    assert notified == [event]
    assert isinstance(event.body, SpeakersChanged)
    assert [(line.utterance, line.rev, line.speaker) for line in event.body.utterances] == [
        (2, 2, "S1"),
        (3, 2, "S1"),
    ]
    assert await store.relabel(meeting.id, {2: "S1"}) == [], "nothing changed, nothing is told"


async def test_an_engine_does_not_change_what_a_person_assigned(
    store: MeetingStore, meeting: Meeting
) -> None:
    await talk(store, meeting, "S1", "S1")
    ben = await store.add_speaker(meeting.id, "Ben")
    assert ben == "P1"
    await store.relabel(meeting.id, {2: ben}, by_person=True)
    assert await store.relabel(meeting.id, {2: "S1"}) == []
    transcript = await store.transcript(meeting.id)
    assert [u.is_assigned for u in transcript.utterances] == [False, True]
    assert transcript.speakers == [Speaker(label="S1"), Speaker(label="P1", name="Ben")]
    assert await store.add_speaker(meeting.id, None) == "P2"


async def test_two_labels_of_one_person_stay_joined(store: MeetingStore, meeting: Meeting) -> None:
    await talk(store, meeting, "S1", "S2", "S3")
    await store.rename_speaker(meeting.id, "S3", "Ana")
    await store.merge_speakers(meeting.id, "S2", "S1")
    [event] = await store.merge_speakers(meeting.id, "S3", "S1")
    assert isinstance(event.body, SpeakersChanged)
    assert event.body.names == {"S1": "Ana"}, "a name goes along"
    await store.commit_utterances(
        meeting.id, [make_utterance(4, "And more.", "S2"), make_utterance(5, "Yes.", "S3")], 32_000
    )
    assert await labels(store, meeting) == ["S1"] * 5
    await store.relabel(meeting.id, {4: "S3"})
    assert await labels(store, meeting) == ["S1"] * 5
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


async def test_minutes_follow_the_speakers(store: MeetingStore, meeting: Meeting) -> None:
    await talk(store, meeting, "S1", "S2", "S2")
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


async def test_an_utterance_is_split_in_its_place(store: MeetingStore, meeting: Meeting) -> None:
    await talk(store, meeting, "S1", "S1")
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


async def test_a_split_that_was_thought_out_before_somebody_changed_the_utterance_is_left(
    store: MeetingStore, meeting: Meeting
) -> None:
    await talk(store, meeting, "S1", "S2")
    whole = (await store.transcript(meeting.id)).utterances[0]
    parts = [
        whole.model_copy(update={"rev": 2, "text": "Sentence"}),
        whole.model_copy(update={"utterance": 3, "text": "1."}),
    ]
    await store.merge_speakers(meeting.id, "S1", "S2")
    assert await store.split_utterances(meeting.id, {1: parts}) == []
    assert [u.text for u in (await store.transcript(meeting.id)).utterances] == ["Sentence 1.", "Sentence 2."]


async def test_parts_get_ids_that_are_free_when_they_are_stored(
    store: MeetingStore, meeting: Meeting
) -> None:
    await talk(store, meeting, "S1", "S1")
    whole = (await store.transcript(meeting.id)).utterances[0]
    parts = [
        whole.model_copy(update={"rev": 2, "text": "Sentence"}),
        whole.model_copy(update={"utterance": 2, "text": "1."}),
    ]
    await store.split_utterances(meeting.id, {1: parts})
    found = {u.utterance: u.text for u in (await store.transcript(meeting.id)).utterances}
    assert found == {1: "Sentence", 2: "Sentence 2.", 3: "1."}


async def test_where_two_speak_at_once_is_marked_in_place(store: MeetingStore, meeting: Meeting) -> None:
    await talk(store, meeting, "S1", "S2")
    events = await store.mark_overlap(meeting.id, [2, 9])
    assert [event.seq for event in events] == [3]
    assert await store.events_after(meeting.id, 2) == events
    assert [(u.rev, u.overlap) for u in (await store.transcript(meeting.id)).utterances] == [
        (1, False),
        (2, True),
    ]
    assert await store.mark_overlap(meeting.id, [2]) == [], "it is marked already"


async def test_owners_follow_an_engine_that_finds_out_later_who_spoke(
    store: MeetingStore, meeting: Meeting
) -> None:
    await talk(store, meeting, "S1", "S2", "S2", "S2")
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


async def test_the_first_of_two_channels_is_you(store: MeetingStore) -> None:
    meeting = Meeting(
        id=str(uuid_utils.uuid7()),
        title="Call",
        state=MeetingState.RECORDING,
        source="live",
        channels=2,
        created_at_ms=0,
    )
    await store.create(meeting)
    await talk(store, meeting, YOU)
    assert (await store.get(meeting.id)).channels == 2
    assert (await store.transcript(meeting.id)).speakers == [Speaker(label=YOU, name="You")]


# --- an utterance is cut in two by hand

TWO_VOICES = "Who takes the slides? I will send them."


async def held_by_two(store: MeetingStore, meeting: Meeting) -> None:
    """Two sentences in one utterance, quoted apart and together by the minutes."""
    lines = [make_utterance(1, TWO_VOICES), make_utterance(2, "Thank you.", "S2")]
    await store.commit_utterances(meeting.id, lines, 48_000)
    quotes = ("Who takes the slides?", "I will send them.", TWO_VOICES)
    summary = [
        Item(id=f"s{n}", text=quote, evidence=[Evidence(utterance=1, quote=quote)])
        for n, quote in enumerate(quotes, start=1)
    ]
    await store.append_event(meeting.id, NotesChanged(decisions=summary[1:2]))
    await finish(store, meeting, Minutes(summary=summary))


async def test_an_utterance_is_cut_and_what_quotes_it_cites_the_part_that_says_it(
    store: MeetingStore, meeting: Meeting
) -> None:
    await held_by_two(store, meeting)
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


async def test_a_part_can_be_said_by_somebody_else_and_cut_again(
    store: MeetingStore, meeting: Meeting
) -> None:
    await held_by_two(store, meeting)
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


async def test_what_is_not_there_cannot_be_cut(store: MeetingStore, meeting: Meeting) -> None:
    await held_by_two(store, meeting)
    with pytest.raises(NotFoundError):
        await store.cut_utterance(meeting.id, 9, 1, not_during="rewrite")
    with pytest.raises(InputError):
        await store.cut_utterance(meeting.id, 1, 8, not_during="rewrite")
    assert len((await store.transcript(meeting.id)).utterances) == 2


async def test_nothing_is_cut_while_minutes_are_written_that_cite_the_whole(
    store: MeetingStore, meeting: Meeting
) -> None:
    await store.commit_utterances(meeting.id, [make_utterance(1, TWO_VOICES)], 48_000)
    with pytest.raises(ConflictError):
        await store.cut_utterance(meeting.id, 1, 4, not_during="rewrite")
    await finish(store, meeting, Minutes())
    await store.begin_step(meeting.id, "rewrite", can_repeat=True)
    with pytest.raises(ConflictError):
        await store.cut_utterance(meeting.id, 1, 4, not_during="rewrite")
    await store.end_step(meeting.id, "rewrite")
    assert len(await store.cut_utterance(meeting.id, 1, 4, not_during="rewrite")) == 2
