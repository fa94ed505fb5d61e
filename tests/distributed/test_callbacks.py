"""Results that come to a gateway's own address, by signed POST or WebSocket, instead of through Redis."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from meeting_assistant.domain.ports import FleetEvent
from meeting_assistant.domain.signatures import TOLERANCE_S, key_of, signature
from meeting_assistant.testing.harness.fleet import Fleet, RedisProcess, check

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
NOWHERE = "http://127.0.0.1:9"
POST, SOCKET, LOST = range(3)
"""The gateways."""
NUMBERS = [3, 14, 15]
EVENT = json.dumps(asdict(FleetEvent("no-such-meeting", "attempt", 1, "hello", {}))).encode()


@pytest.fixture(scope="module")
def fleet(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One gateway for each way, one that gave an address where nobody is, two workers."""
    folder = tmp_path_factory.mktemp("callbacks")
    carrier = RedisProcess(redis_server, folder / "redis")
    carrier.start()
    fleet = Fleet(folder, carrier, {"FLEET__CALLBACK_SECRET": SECRET})
    fleet.add_gateways(1, callback="http")
    fleet.add_gateways(1, callback="ws")
    fleet.env["FLEET__CALLBACK_URL"] = NOWHERE
    fleet.add_gateways(1)
    fleet.add_workers(2)
    yield fleet
    fleet.close()
    carrier.close()


def has_inbox(fleet: Fleet, gateway: int) -> bool:
    return bool(fleet.carrier.client().exists(f"meeting-assistant:inbox:gateway{gateway}"))


@pytest.mark.parametrize("gateway", [POST, SOCKET], ids=["post", "websocket"])
async def test_what_is_heard_comes_to_the_gateways_address_and_nothing_of_it_lies_in_redis(
    fleet: Fleet, gateway: int
) -> None:
    check(NUMBERS, await fleet.hold(gateway, NUMBERS))
    assert not has_inbox(fleet, gateway)


async def test_a_gateway_that_cannot_be_reached_at_its_address_finds_the_results_in_its_inbox(
    fleet: Fleet,
) -> None:
    check(NUMBERS, await fleet.hold(LOST, NUMBERS))
    assert has_inbox(fleet, LOST)


@pytest.mark.long
@pytest.mark.parametrize("gateway", [POST, SOCKET], ids=["post", "websocket"])
async def test_a_worker_that_is_killed_is_followed_by_another(fleet: Fleet, gateway: int) -> None:
    meeting = asyncio.create_task(fleet.hold(gateway, NUMBERS))
    await asyncio.sleep(3)  # in the middle of what is said
    fleet.busiest().signal(signal.SIGKILL)
    check(NUMBERS, await meeting)
    fleet.mend(2)


def signed(content: bytes, *, secret: str = SECRET, at_s: float | None = None) -> dict[str, str]:
    stamp = str(int(time.time() if at_s is None else at_s))
    return {
        "webhook-id": "message",
        "webhook-timestamp": stamp,
        "webhook-signature": signature([key_of(secret)], "message", stamp, content),
    }


OTHER = "whsec_" + base64.b64encode(bytes(32)).decode()
REFUSED: list[tuple[Callable[[], dict[str, str]], bytes, int]] = [
    (dict, EVENT, 401),
    (lambda: signed(EVENT, secret=OTHER), EVENT, 401),
    (lambda: signed(EVENT, at_s=0), EVENT, 401),
    (lambda: signed(EVENT), EVENT + b" ", 401),
    (lambda: signed(b"no event"), b"no event", 422),
    (lambda: {**signed(EVENT), "webhook-timestamp": "soon"}, EVENT, 401),
]


@pytest.mark.parametrize(("sign", "content", "status"), REFUSED)
def test_what_nobody_of_the_fleet_signed_is_refused(
    fleet: Fleet, sign: Callable[[], dict[str, str]], content: bytes, status: int
) -> None:
    headers = sign()
    with httpx.Client(base_url=fleet.gateways[POST].url, trust_env=False) as http:
        answer = http.post("/api/fleet/events", content=content, headers=headers)
        assert answer.status_code == status
        assert answer.json()["error"]["remedy"]
        assert http.post("/api/fleet/events", content=EVENT, headers=signed(EVENT)).status_code == 204


async def test_a_socket_on_which_nobody_speaks_is_closed(fleet: Fleet) -> None:
    async with connect(f"{fleet.gateways[SOCKET].ws_url}/ws/fleet", proxy=None) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


async def test_a_socket_on_which_somebody_else_speaks_is_closed(fleet: Fleet) -> None:
    for message in (
        "hello",
        json.dumps({**signed(EVENT, secret=OTHER), "event": EVENT.decode()}),
        json.dumps({**signed(EVENT, at_s=time.time() - 2 * TOLERANCE_S), "event": EVENT.decode()}),
    ):
        async with connect(f"{fleet.gateways[SOCKET].ws_url}/ws/fleet", proxy=None) as socket:
            await socket.send(message)
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008
