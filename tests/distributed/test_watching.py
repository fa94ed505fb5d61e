"""Watching a meeting over another gateway than the one that records it: both share a database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from meeting_assistant.client import LiveClient, paced
from meeting_assistant.testing.doubles.fake_speech import spoken
from meeting_assistant.testing.harness.fleet import Fleet, check, until
from meeting_assistant.testing.servers.postgres import PostgresServer
from meeting_assistant.testing.servers.redis import RedisProcess

NUMBERS = [8, 15, 16, 23]


@pytest.fixture(scope="module")
def fleet(
    redis_server: str, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("watching")
    broker = RedisProcess(redis_server, folder / "redis")
    broker.start()
    fleet = Fleet(folder, broker, {"DATABASE_URL": postgres.create("watching")})
    fleet.add_gateways(2)
    fleet.add_workers(1)
    yield fleet
    fleet.close()
    broker.close()


class Meeting:
    """Recorded over the first gateway."""

    def __init__(self, fleet: Fleet, numbers: list[int]) -> None:
        self.id: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.has_words = asyncio.Event()
        client = LiveClient(fleet.gateways[0].ws_url, on_message=self._note)
        self.final = asyncio.create_task(client.stream(paced(spoken(numbers).tobytes())))

    def _note(self, message: Any) -> None:
        if message["type"] == "started" and not self.id.done():
            self.id.set_result(message["meeting_id"])
        if message["type"] == "transcript":
            self.has_words.set()


async def watch(fleet: Fleet, gateway: int, meeting_id: str) -> list[dict[str, Any]]:
    """Collect all events up to `final`."""
    address = f"{fleet.gateways[gateway].ws_url}/ws/meetings/{meeting_id}/events"
    seen: list[dict[str, Any]] = []
    async with asyncio.timeout(60), connect(address, proxy=None, max_size=None) as socket:
        while not seen or seen[-1]["type"] != "final":
            seen.append(json.loads(await socket.recv()))
    return seen


def durable(seen: list[dict[str, Any]]) -> list[tuple[int, str]]:
    kinds = ("transcript", "speakers", "notes", "gap", "final")
    return [(message["seq"], message["type"]) for message in seen if message["type"] in kinds]


async def test_captions_and_durable_events_reach_viewers_on_another_gateway(fleet: Fleet) -> None:
    meeting = Meeting(fleet, NUMBERS)
    meeting_id = await meeting.id
    here, there = await asyncio.gather(*(watch(fleet, gateway, meeting_id) for gateway in (0, 1)))
    check(NUMBERS, dict(await meeting.final))
    assert durable(there) == durable(here)
    assert [seq for seq, _ in durable(there)] == list(range(1, len(durable(there)) + 1))
    assert any(message["type"] == "partial_transcript" for message in there)


async def test_changes_made_on_one_gateway_reach_viewers_on_both(fleet: Fleet) -> None:
    meeting = Meeting(fleet, NUMBERS)
    meeting_id = await meeting.id
    watching = [asyncio.create_task(watch(fleet, gateway, meeting_id)) for gateway in (0, 1)]
    await meeting.has_words.wait()
    async with httpx.AsyncClient(base_url=fleet.gateways[1].url, trust_env=False) as http:
        by = {"utterances": [1], "speaker": "new", "name": "Ana"}
        assert (await http.post(f"/api/meetings/{meeting_id}/speakers", json=by)).status_code == 200
    await meeting.final
    here, there = await asyncio.gather(*watching)
    assert durable(there) == durable(here)
    assert "speakers" in [kind for _, kind in durable(here)]


async def test_an_outage_of_redis_costs_captions_but_no_durable_event(fleet: Fleet) -> None:
    meeting = Meeting(fleet, NUMBERS)
    watching = asyncio.create_task(watch(fleet, 1, await meeting.id))
    await meeting.has_words.wait()
    fleet.broker.kill()
    await until(lambda: fleet.has_problem("Redis does not answer"))
    fleet.broker.start()
    check(NUMBERS, dict(await meeting.final))
    seen = durable(await watching)
    assert [seq for seq, _ in seen] == list(range(1, len(seen) + 1))
    assert seen[-1][1] == "final"
