"""What the full-text index promises, on every database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import uuid_utils

from meeting_assistant.adapters.storage.sql.database import Database
from meeting_assistant.adapters.storage.sql.meeting_store import SqlMeetingStore
from meeting_assistant.adapters.storage.sql.search import SqlSearchIndex
from meeting_assistant.domain.meeting import Coverage, Meeting, MeetingState
from meeting_assistant.domain.transcript import Utterance

LINES = (
    "We are shipping the release on Friday.",
    "Friday is too early, the releases need a test.",
    "Das Müsli ist fertig.",
    "会議は金曜日です",
    'A "quoted" phrase & an operator | nothing more.',
)


class SearchFixture:
    def __init__(self, url: str) -> None:
        database = Database(url)
        self.store, self.index = SqlMeetingStore(database), SqlSearchIndex(database)

    async def add_meeting(self, *lines: str, owner: str = "ana") -> str:
        meeting = Meeting(
            id=str(uuid_utils.uuid7()),
            title="",
            state=MeetingState.RECORDING,
            source="live",
            created_at_ms=0,
            owner=owner,
        )
        await self.store.create(meeting)
        utterances = [
            Utterance(utterance=n, start_ms=n * 1000, end_ms=n * 1000 + 900, text=line)
            for n, line in enumerate(lines, start=1)
        ]
        await self.store.commit_utterances(meeting.id, utterances, 16_000)
        return meeting.id

    async def find(self, *words: str, **options: object) -> list[int]:
        hits = await self.index.search(words, **options)  # type: ignore[arg-type]
        return [hit.utterance.utterance for hit in hits]


@pytest.fixture
async def index(database_url: str) -> AsyncIterator[SearchFixture]:
    index = SearchFixture(database_url)
    await index.store.open()
    yield index
    await index.store.close()


async def test_words_are_found_by_their_stem_and_without_accents(index: SearchFixture) -> None:
    await index.add_meeting(*LINES)
    assert set(await index.find("release")) == {1, 2}
    assert await index.find("ship") == [1]
    assert await index.find("musli") == [3]
    assert await index.find("Müsli") == [3]
    assert await index.find("金曜") == [4], "a part of a run of characters"


async def test_results_with_more_of_the_words_come_first_and_all_words_can_be_required(
    index: SearchFixture,
) -> None:
    await index.add_meeting(*LINES)
    assert (await index.find("Friday", "early", "test"))[0] == 2
    assert await index.find("Friday", "shipping", has_all=True) == [1]
    assert await index.find("Friday", "nowhere", has_all=True) == []


@pytest.mark.parametrize(
    "words", [('"',), ("&",), ("' OR 1=1 --",), ("|",), ("",), ("(",), (":*",), ("quoted",)]
)
async def test_queries_have_no_operators(index: SearchFixture, words: tuple[str, ...]) -> None:
    await index.add_meeting(*LINES)
    assert set(await index.find(*words)) <= {5}


async def test_search_finds_only_meetings_of_the_owner(index: SearchFixture) -> None:
    mine = await index.add_meeting("The budget is fixed.")
    theirs = await index.add_meeting("The budget is secret.", owner="eve")
    assert [h.meeting_id for h in await index.index.search(["budget"], owner="ana")] == [mine]
    assert [h.meeting_id for h in await index.index.search(["budget"], meeting_id=theirs)] == [theirs]
    assert len(await index.index.search(["budget"])) == 2


async def test_the_index_follows_changes_of_the_transcript(index: SearchFixture) -> None:
    meeting_id = await index.add_meeting("We meet on Monday.")
    changed = Utterance(utterance=1, rev=2, start_ms=1000, end_ms=1900, text="We meet on Tuesday.")
    await index.store.commit_utterances(meeting_id, [changed], 16_000)
    assert await index.find("Monday") == []
    assert await index.find("Tuesday") == [1]
    await index.store.delete(meeting_id)
    assert await index.find("Tuesday") == []


async def test_search_finds_the_matching_part_after_a_split(index: SearchFixture) -> None:
    meeting_id = await index.add_meeting("Who takes the slides? I will send the brochure.")
    await index.store.set_state(meeting_id, MeetingState.PROCESSING)
    await index.store.finish(meeting_id, minutes=None, coverage=Coverage(), duration_ms=0, engines={})
    await index.store.cut_utterance(meeting_id, 1, 4, not_during="rewrite")
    assert await index.find("slides") == [1]
    assert await index.find("brochure") == [2]


async def test_search_results_have_the_present_speaker_label(index: SearchFixture) -> None:
    meeting_id = await index.add_meeting("The booth costs four thousand.", "That is a lot.")
    await index.store.relabel(meeting_id, {1: "S1", 2: "S2"})
    [hit] = await index.index.search(("booth",))
    assert hit.utterance.speaker == "S1"
    await index.store.merge_speakers(meeting_id, "S1", "S2")
    [hit] = await index.index.search(("booth",))
    assert hit.utterance.speaker == "S2"
