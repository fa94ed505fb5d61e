"""Meetings over a fleet, and its failures: nothing is lost and nothing is transcribed twice.

A deterministic engine decides which words belong to which audio, so that every transcript can be checked to the word.
`benchmarks/fleet.py` measures how long captions pause.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
from collections.abc import Sequence

import httpx
import pytest
from websockets.asyncio.client import connect

from meeting_assistant.domain.errors import MeetingRefusedError
from meeting_assistant.domain.jobs import JobKind
from meeting_assistant.services.fleet.messages import Hello, WorkerMessage, encode
from meeting_assistant.testing.doubles.fake_speech import DigitEngine, height, spoken, words_of
from meeting_assistant.testing.harness.fleet import Fleet, RunningMeeting, check, under_way, until
from meeting_assistant.web.audio_range import wav_header

ITEMS = 3
JOBS = "meeting-assistant:jobs.live"
LEASE_LOST = "Lost the lease of a job."


async def check_all(meetings: Sequence[RunningMeeting]) -> None:
    for meeting in meetings:
        await meeting.check()


async def test_twenty_meetings_run_on_two_gateways_and_three_workers(fleet: Fleet) -> None:
    await check_all(fleet.hold_many(20, ITEMS))


async def test_another_worker_takes_over_from_a_killed_one(fleet: Fleet) -> None:
    meetings = fleet.hold_many(6, ITEMS)
    await under_way(meetings)
    fleet.busiest().signal(signal.SIGKILL)
    await check_all(meetings)
    assert fleet.metric("fleet_takeovers_total") > 0


async def test_a_suspended_worker_loses_its_leases_and_stops_when_it_resumes(fleet: Fleet) -> None:
    before = fleet.metric("fleet_takeovers_total")
    meetings = fleet.hold_many(6, ITEMS)
    await under_way(meetings)
    paused = fleet.busiest()
    paused.signal(signal.SIGSTOP)
    await until(lambda: fleet.metric("fleet_takeovers_total") > before)
    paused.signal(signal.SIGCONT)
    await until(lambda: paused.has_logged(LEASE_LOST))
    await check_all(meetings)
    assert paused.is_running, "it goes on with other meetings"


async def test_late_results_of_a_worker_presumed_dead_are_fenced(fleet: Fleet) -> None:
    """The network delivers them only after another worker has taken over."""
    taken_over, fenced = fleet.metric("fleet_takeovers_total"), fleet.metric("fleet_fenced_total")
    async with fleet.worker_behind_proxy() as (far, link):
        meetings = fleet.hold_many(9, ITEMS)
        await under_way(meetings)
        link.stall_at(b"meeting-assistant:inbox:")  # with a result in it
        async with asyncio.timeout(60):
            await link.is_stalled.wait()
        await until(lambda: fleet.metric("fleet_takeovers_total") > taken_over)
        link.resume()
        await until(lambda: fleet.metric("fleet_fenced_total") > fenced)
        await until(lambda: far.has_logged(LEASE_LOST))
        await check_all(meetings)


async def test_a_file_is_transcribed_by_the_fleet(fleet: Fleet) -> None:
    audio = spoken([7, 8, 9]).tobytes()
    async with httpx.AsyncClient(base_url=fleet.gateways[0].url, trust_env=False) as http:
        sent = await http.post("/api/meetings", files={"file": ("talk.wav", wav_header(len(audio)) + audio)})
        assert sent.status_code == 201, sent.text
    events = f"{fleet.gateways[0].ws_url}/ws/meetings/{sent.json()['id']}/events"
    async with connect(events, proxy=None, max_size=None) as socket:
        while (message := json.loads(await socket.recv()))["type"] != "final":
            pass
    check([7, 8, 9], message)


async def test_meetings_survive_a_restart_of_redis(fleet: Fleet) -> None:
    meetings = fleet.hold_many(6, ITEMS)
    await under_way(meetings)
    fleet.broker.kill()
    await until(lambda: fleet.has_problem("Redis does not answer"))
    fleet.broker.start()
    await check_all(meetings)


async def test_meetings_survive_the_loss_of_all_data_in_redis(fleet: Fleet) -> None:
    meetings = fleet.hold_many(6, ITEMS)
    await under_way(meetings)
    fleet.broker.client().flushall()
    await check_all(meetings)
    assert fleet.metric("fleet_reoffered_total") > 0


async def test_meetings_of_a_worker_cut_off_from_redis_go_to_others(fleet: Fleet) -> None:
    async with fleet.worker_behind_proxy() as (far, link):
        meetings = fleet.hold_many(12, ITEMS)
        await under_way(meetings)
        link.cut()
        await until(lambda: far.has_logged(LEASE_LOST))
        link.mend()
        await check_all(meetings)


async def test_duplicate_jobs_and_messages_without_the_secret_disturb_no_meeting(fleet: Fleet) -> None:
    client, refused = fleet.broker.client(), fleet.metric("fleet_refused_total")
    client.xadd(JOBS, {"__data__": b"no job"})
    meetings = fleet.hold_many(4, ITEMS)
    await until(lambda: client.xlen(JOBS) >= len(meetings))
    for _, fields in client.xrange(JOBS) or ():
        client.xadd(JOBS, fields)  # type: ignore[arg-type]
    await under_way(meetings)
    ids = [
        one["id"] for gateway in fleet.gateways for one in gateway.get("/api/meetings?limit=2")["meetings"]
    ]
    for gateway, meeting_id in itertools.product(range(len(fleet.gateways)), ids):
        body = Hello(worker="evil", job=JobKind.LIVE_SESSION, offer="", lease="", engines={})
        hello = encode(WorkerMessage(meeting_id=meeting_id, attempt="evil", body=body))
        for name, message in [("message", hello), ("sealed", hello), ("sealed", "")]:
            client.xadd(f"meeting-assistant:inbox:gateway{gateway}", {name: message})
    await check_all(meetings)
    assert fleet.metric("fleet_refused_total") >= refused + 3 * len(fleet.gateways) * len(ids)
    assert client.xlen(f"{JOBS}.dead") >= 1
    client.delete(JOBS, f"{JOBS}.dead")


async def test_a_meeting_that_kills_its_workers_fails_and_the_others_continue(fleet: Fleet) -> None:
    poisoned = fleet.start_meeting(0, [1, DigitEngine.POISON, 2])

    def replace_the_dead() -> bool:
        fleet.mend(3)
        return poisoned.final.done()

    await until(replace_the_dead)
    with pytest.raises(MeetingRefusedError):
        await poisoned.final
    failed = fleet.gateways[0].get("/api/meetings?limit=1")["meetings"][0]
    assert failed["state"] == "failed"
    assert [error["code"] for error in failed["errors"]] == ["needs_attention"]
    assert fleet.metric("fleet_given_up_total") == 1
    await check_all(fleet.hold_many(1, ITEMS))
    fleet.broker.client().delete(f"{JOBS}.dead")


async def test_a_stopping_worker_releases_its_meetings_to_others(fleet: Fleet) -> None:
    meetings = fleet.hold_many(6, ITEMS)
    await under_way(meetings)
    leaving = fleet.busiest()
    leaving.signal(signal.SIGTERM)
    assert await asyncio.to_thread(leaving.wait) == 0
    await check_all(meetings)


@pytest.mark.storage
async def test_a_killed_gateway_resumes_its_meetings(fleet: Fleet) -> None:
    meetings = fleet.hold_many(4, ITEMS)
    await under_way(meetings)
    gateway = fleet.gateways[0]
    await asyncio.to_thread(gateway.kill)
    await asyncio.to_thread(gateway.start)
    await check_all(meetings)


class Search:
    """A meeting of which something is looked for in every byte of Redis, which writes all it has to its disk here."""

    TITLE, VOCABULARY = "Merger with Brightwater", "Zwetschgenmus"
    NUMBERS, OFF_THE_RECORD = [317, 326], 391

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.meeting_id = ""

    async def start_meeting(self) -> None:
        """Speak numbers, one of them off the record; look meanwhile."""
        async with connect(
            f"{self._fleet.gateways[0].ws_url}/ws/meetings", proxy=None, max_size=None
        ) as socket:
            start = {
                "title": self.TITLE,
                "vocabulary": [self.VOCABULARY],
                "sample_rate": 16000,
                "channels": 1,
            }
            await socket.send(json.dumps({"type": "start", **start}))
            self.meeting_id = json.loads(await socket.recv())["meeting_id"]
            for numbers, then in [
                (self.NUMBERS[:1], {"type": "pause", "forget": True}),
                ([self.OFF_THE_RECORD], {"type": "resume"}),
                (self.NUMBERS[1:], None),
            ]:
                sound = spoken(numbers).tobytes()
                for first in range(0, len(sound), 6400):
                    await socket.send(sound[first : first + 6400])
                if then is not None:
                    await socket.send(json.dumps(then))
            while (message := json.loads(await socket.recv()))["type"] != "transcript":
                pass
            await self.check()
            await socket.send(json.dumps({"type": "stop"}))
            while (message := json.loads(await socket.recv()))["type"] != "final":
                pass
        texts = [one["text"].rstrip(".").casefold() for one in message["transcript"]["utterances"]]
        assert texts == [words_of(number) for number in self.NUMBERS]

    async def check(self) -> None:
        assert await asyncio.to_thread(self._fleet.broker.places_of, self.needles()) == set()

    def needles(self) -> list[bytes]:
        """The sound of each number, its words, what was typed, and the id of the meeting in all its forms."""
        found = [self.TITLE.encode(), self.VOCABULARY.encode(), self.meeting_id.encode()]
        found.append(self.meeting_id.replace("-", "").encode())
        for number in (*self.NUMBERS, self.OFF_THE_RECORD):
            found += [words_of(number).encode(), height(number).to_bytes(2, "little") * 40]
        return found


async def test_nothing_of_a_meeting_is_in_any_byte_of_redis_at_any_time(fleet: Fleet) -> None:
    """While it runs, after a part was forgotten, after its sound and after the whole was deleted."""
    client, search = fleet.broker.client(), Search(fleet)
    sound = height(399).to_bytes(2, "little") * 40
    client.set("known", sound)
    assert {place for place, _ in fleet.broker.places_of([sound])} == {"memory", "value", "file"}
    client.delete("known")

    await search.start_meeting()
    async with httpx.AsyncClient(base_url=fleet.gateways[0].url, trust_env=False) as http:
        meeting = f"/api/meetings/{search.meeting_id}"
        forgotten = await http.post(f"{meeting}/forget", json={"start_ms": 0, "end_ms": 1500})
        assert forgotten.status_code == 200, forgotten.text
        await search.check()
        assert (await http.delete(f"{meeting}/audio")).status_code == 204
        assert (await http.delete(meeting)).status_code == 204
    await search.check()
    for key in client.scan_iter("meeting-assistant:*"):
        is_list_of_jobs = key.decode().endswith((".live", ".speakers", ".file"))
        assert is_list_of_jobs or client.ttl(key) > 0, f"{key} stays for good"


async def test_without_a_free_worker_new_meetings_are_refused_with_a_retry_time(
    fleet: Fleet,
) -> None:
    for worker in fleet.workers:
        worker.signal(signal.SIGTERM)
        await asyncio.to_thread(worker.wait)
    await asyncio.to_thread(fleet.wait_until_full)
    async with connect(f"{fleet.gateways[0].ws_url}/ws/meetings", proxy=None) as socket:
        await socket.send(json.dumps({"type": "start", "sample_rate": 16000, "channels": 1}))
        refusal = json.loads(await socket.recv())
    assert refusal["code"] == "overloaded"
    health = fleet.gateways[0].get("/health")
    assert health["status"] == "degraded"
    assert "No worker is there" in health["problems"][0]
