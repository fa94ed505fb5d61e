"""Live notes, and how they end up in the minutes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uuid_utils

from meeting_assistant.adapters.audio.trusted import read_pcm
from meeting_assistant.adapters.minutes_rules import EmbeddedWriter
from meeting_assistant.adapters.minutes_rules.due_phrases import resolve_due
from meeting_assistant.adapters.storage.sql.database import Database
from meeting_assistant.adapters.storage.sql.meeting_store import SqlMeetingStore
from meeting_assistant.bootstrap.language_models import build_llm_service
from meeting_assistant.client import LiveClient, paced
from meeting_assistant.config import Settings
from meeting_assistant.domain.events import NotesChanged
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.meeting import Meeting, MeetingState
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.transcript import Utterance
from meeting_assistant.launcher import ServerProcess
from meeting_assistant.services.events.attempts import Attempts
from meeting_assistant.services.events.meeting_channel import Channels, Watcher
from meeting_assistant.services.events.meeting_io import MeetingIo
from meeting_assistant.services.llm.llm_service import LLMService
from meeting_assistant.services.meetings.finishing import MeetingFinisher
from meeting_assistant.services.minutes.live_notes import LiveNotes
from meeting_assistant.services.minutes.llm_minutes import POINTS_AT_ONCE, LlmMinutes
from meeting_assistant.services.minutes.minutes_service import MinutesResult, MinutesService
from meeting_assistant.services.minutes.start_correction import StartCorrection
from meeting_assistant.testing.doubles.llm_server import Answer, LlmServer, SeenRequest, lines_of, user_text
from meeting_assistant.testing.harness.database import sqlite_url
from meeting_assistant.testing.harness.llm_minutes import EMPTY_ANSWER

FILLER = " ".join(["It took a while until everybody had found the right room and the right chair."] * 3)


class RunningMeeting:
    """A running meeting without audio: utterances are committed as a session would."""

    def __init__(self, folder: Path, llm: LLMService | None, interval_s: float = 0.001) -> None:
        self.store = SqlMeetingStore(Database(sqlite_url(folder)))
        self.channels = Channels(self.store)
        llm_minutes = LlmMinutes(llm, resolve_due) if llm is not None else None
        self.minutes = MinutesService(EmbeddedWriter(), llm, llm_minutes)
        self.notes = LiveNotes(self.store, self.channels, self.minutes, interval_s=interval_s)
        io = MeetingIo(self.store, None, self.channels, ThreadPoolExecutor(1), Attempts(self.store))
        self.correction = StartCorrection(self.store, resolve_due, self._ignore)
        self.finisher = MeetingFinisher(io, self.minutes, self.notes, {}, redated=self.correction.redated)
        self.meeting = Meeting(
            id=str(uuid_utils.uuid7()), title="", state=MeetingState.RECORDING, source="live", created_at_ms=0
        )
        self.count = 0

    async def _ignore(self, meeting_id: str) -> None:
        """No integration follows the minutes."""

    async def begin(self) -> Watcher:
        await self.store.open()
        await self.store.create(self.meeting)
        channel = await self.channels.get(self.meeting.id)
        self.channels.pin(self.meeting.id)
        await self.notes.begin(self.meeting.id, channel)
        return await channel.join(self.store, 0, wants_captions=False)

    async def say(self, text: str) -> None:
        self.count += 1
        start = self.count * 10_000
        count = Utterance(utterance=self.count, start_ms=start, end_ms=start + 9000, speaker="S1", text=text)
        channel = await self.channels.get(self.meeting.id)
        await channel.publish(partial(self.store.commit_utterances, self.meeting.id, [count], start * 16))

    async def finish(self) -> Minutes:
        await self.store.set_state(self.meeting.id, MeetingState.PROCESSING)
        await self.finisher.finish(InferenceJob(kind=JobKind.FINISH_MEETING, meeting_id=self.meeting.id))
        minutes = await self.store.minutes(self.meeting.id)
        assert minutes is not None
        return minutes

    async def close(self) -> None:
        await self.notes.drop(self.meeting.id)
        self.minutes.close()
        await self.store.close()


async def next_notes(watcher: Watcher) -> NotesChanged:
    async with asyncio.timeout(30):
        async for event in watcher:
            if isinstance(event.body, NotesChanged):
                return event.body
    raise AssertionError("the meeting ended")


MakeTalk = Callable[..., RunningMeeting]


@pytest.fixture
async def new_meeting(tmp_path: Path) -> AsyncIterator[MakeTalk]:
    opened: list[tuple[RunningMeeting, LLMService | None]] = []

    def make(model: LlmServer | None = None, folder: Path = tmp_path) -> RunningMeeting:
        llm = None
        if model is not None:
            values = {"vllm_base_url": model.url, "vllm_model_id": "m", "llm_backoff_seconds": 0}
            llm = build_llm_service(Settings.model_validate(values))
        talk = RunningMeeting(folder, llm)
        opened.append((talk, llm))
        return talk

    yield make
    for talk, llm in opened:
        await talk.close()
        if llm is not None:
            await llm.close()


def careful_reader(request: SeenRequest) -> Answer:
    """A model that notes each decision in its lines, and withdraws revoked ones."""
    import json

    answer: dict[str, Any] = {key: [] for key in EMPTY_ANSWER}
    for number, line in lines_of(request):
        words = line.partition("| ")[2]
        if "we decided" in words.casefold():
            quote = words[words.casefold().index("we decided") :]
            answer["decisions"].append({"lines": [number], "quote": quote, "text": quote})
        if "forget the first" in words.casefold():
            answer["taken_back"].append({"id": "d1", "lines": [number], "quote": words})
        answer["summary"].append({"lines": [number], "text": words})
    return Answer(json.dumps(answer))


async def test_live_decisions_keep_their_ids_in_the_final_minutes(
    new_meeting: MakeTalk,
) -> None:
    with LlmServer().serving("m").answer_by(careful_reader) as model:
        talk = new_meeting(model)
        watcher = await talk.begin()
        await talk.say(f"{FILLER} We decided to ship on Monday.")
        first = await next_notes(watcher)
        await talk.say(f"{FILLER} We decided to paint the office.")
        second = await next_notes(watcher)
        await talk.say("We decided to stop here.")
        minutes = await talk.finish()
        read = [
            n
            for r in model.requests
            if r.body["response_format"]["json_schema"]["name"] == "minutes"
            for n, _ in lines_of(r)
        ]
    assert [d.text for d in first.decisions] == ["We decided to ship on Monday."]
    assert [d.id for d in second.decisions] == ["d2"], "only what is new"
    assert [(d.id, d.text) for d in minutes.decisions] == [
        ("d1", "We decided to ship on Monday."),
        ("d2", "We decided to paint the office."),
        ("d3", "We decided to stop here."),
    ]
    assert read == [1, 2, 3], "each line is read once; at the end only the tail was left"


async def test_a_revoked_decision_is_withdrawn_by_its_id(new_meeting: MakeTalk) -> None:
    with LlmServer().serving("m").answer_by(careful_reader) as model:
        talk = new_meeting(model)
        watcher = await talk.begin()
        await talk.say(f"{FILLER} We decided to ship on Monday.")
        await next_notes(watcher)
        await talk.say(f"No, forget the first idea, we ship when it works. {FILLER}")
        change = await next_notes(watcher)
        minutes = await talk.finish()
        assert "d1: We decided to ship on Monday." in user_text(model.requests[1]), (
            "the prompt contains the present notes"
        )
    assert change.withdrawn == ["d1"]
    assert minutes.decisions == []


async def test_a_model_cannot_withdraw_a_decision_that_stands(new_meeting: MakeTalk) -> None:
    def spiteful(request: SeenRequest) -> Answer:
        import json

        answer = json.loads(careful_reader(request).text)
        answer["taken_back"] = [{"id": "d1", "lines": [1], "quote": "nobody ever said this at all"}]
        return Answer(json.dumps(answer))

    with LlmServer().serving("m").answer_by(spiteful) as model:
        talk = new_meeting(model)
        watcher = await talk.begin()
        await talk.say(f"{FILLER} We decided to ship on Monday.")
        await next_notes(watcher)
        await talk.say(FILLER)
        assert [d.id for d in (await talk.finish()).decisions] == ["d1"]


async def test_an_unreachable_model_costs_notes_but_never_the_meeting(new_meeting: MakeTalk) -> None:
    with LlmServer().answer_with_status(401) as model:
        talk = new_meeting(model)
        await talk.begin()
        await talk.say(f"{FILLER} I will send the plan by Friday.")
        minutes = await talk.finish()
    assert minutes.provenance.provider == "embedded"
    assert [a.due_phrase for a in minutes.action_items] == ["by Friday"]


async def test_the_next_server_continues_the_notes_with_the_same_ids(
    new_meeting: MakeTalk, tmp_path: Path
) -> None:
    with LlmServer().serving("m").answer_by(careful_reader) as model:
        talk = new_meeting(model)
        watcher = await talk.begin()
        await talk.say(f"{FILLER} We decided to ship on Monday.")
        await next_notes(watcher)
        await talk.close()
        again = new_meeting(model)
        again.meeting, again.count = talk.meeting, talk.count
        await again.store.open()
        await again.notes.begin(talk.meeting.id, await again.channels.get(talk.meeting.id))
        await again.say("We decided to paint the office.")
        minutes = await again.finish()
    assert [(d.id, d.text) for d in minutes.decisions] == [
        ("d1", "We decided to ship on Monday."),
        ("d2", "We decided to paint the office."),
    ]


async def test_due_dates_follow_a_day_that_is_corrected_while_the_minutes_are_written(
    new_meeting: MakeTalk, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting = new_meeting()
    await meeting.begin()
    await meeting.say("Ana will send the report by Friday.")
    write = meeting.minutes.write

    async def write_meanwhile(*args: Any, **options: Any) -> MinutesResult:
        written = await write(*args, **options)
        await meeting.correction.correct(meeting.meeting.id, datetime(2026, 11, 2, 9, 30))
        return written

    monkeypatch.setattr(meeting.minutes, "write", write_meanwhile)
    minutes = await meeting.finish()
    assert [item.due for item in minutes.action_items] == [date(2026, 11, 6)]


async def test_too_little_new_text_causes_no_request(new_meeting: MakeTalk) -> None:
    with LlmServer().serving("m").answer_by(careful_reader) as model:
        talk = new_meeting(model)
        watcher = await talk.begin()
        await talk.say("We decided to ship on Monday.")
        await talk.say(FILLER)
        await next_notes(watcher)
        await talk.say("Yes.")
        await talk.finish()
        seen = [[n for n, _ in lines_of(request)] for request in model.requests]
    assert seen == [[1, 2], [3]]


def test_a_meeting_without_a_model_has_live_notes(tmp_path: Path, excerpt: Path) -> None:
    """With real speech, the real recogniser and the embedded writer."""
    notes: list[Mapping[str, Any]] = []
    noted_something = asyncio.Event()

    def keep(message: Mapping[str, Any]) -> None:
        if message["type"] == "notes":
            notes.append(message)
            noted_something.set()

    async def until_noted(sound: bytes) -> AsyncIterator[bytes]:
        async for piece in paced(sound, speed=8):
            yield piece
        async with asyncio.timeout(60):
            await noted_something.wait()

    with ServerProcess(tmp_path / "data", {"NOTES_INTERVAL_SECONDS": "0.5"}) as server:
        client = LiveClient(server.ws_url, on_message=keep)
        final = asyncio.run(client.stream(until_noted(read_pcm(excerpt))))
    noted = {item["id"]: item for note in notes for item in note["action_items"]}
    kept = {item["id"]: item for item in final["minutes"]["action_items"]}
    assert noted.keys() & kept.keys()
    for item_id in noted.keys() & kept.keys():
        assert noted[item_id]["evidence"] == kept[item_id]["evidence"]


def promising_reader(request: SeenRequest) -> Answer:
    """A model that notes commitments and their owners."""
    import json

    answer: dict[str, Any] = {key: [] for key in EMPTY_ANSWER}
    for number, line in lines_of(request):
        speaker, _, words = line.partition("| ")
        if "I will write the notes" in words:
            answer["action_items"].append(
                {
                    "lines": [number],
                    "quote": "I will write the notes",
                    "text": f"{speaker} writes the notes.",
                    "owner": speaker,
                    "due": "",
                }
            )
    return Answer(json.dumps(answer))


async def test_live_notes_follow_a_correction_of_the_speaker(new_meeting: MakeTalk) -> None:
    with LlmServer().serving("m").answer_by(promising_reader) as model:
        talk = new_meeting(model)
        watcher = await talk.begin()
        await talk.say(f"{FILLER} I will write the notes.")
        (noted,) = (await next_notes(watcher)).action_items
        other = await talk.store.add_speaker(talk.meeting.id, "Ana")
        await talk.store.relabel(talk.meeting.id, {1: other}, by_person=True)
        (written,) = (await talk.finish()).action_items
        assert len(model.requests) == 1, "nothing is read again: the words are the same"
    assert (noted.owner, written.owner) == ("S1", other)
    assert (written.id, written.text) == (noted.id, "Ana writes the notes.")


async def test_a_summary_that_cannot_be_condensed_does_not_block_notes(new_meeting: MakeTalk) -> None:
    def reads_but_does_not_join(request: SeenRequest) -> Answer:
        if request.body["response_format"]["json_schema"]["name"] == "summary":
            return Answer("{}", 400, is_raw=True)
        return careful_reader(request)

    with LlmServer().serving("m").answer_by(reads_but_does_not_join) as model:
        talk = new_meeting(model)
        watcher = await talk.begin()
        for n in range(POINTS_AT_ONCE):
            await talk.say(f"Point {n} was about the colour of the chairs in room {n}.")
        await talk.say(f"{FILLER} We decided to ship on Monday.")
        async with asyncio.timeout(30):
            while not (await next_notes(watcher)).decisions:
                pass
        seen = [r.body["response_format"]["json_schema"]["name"] for r in model.requests]
    assert "summary" in seen
