"""Results that go to a gateway's own address, by signed POST or WebSocket, instead of through Redis."""

from __future__ import annotations

import json
import secrets
import signal
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from meeting_assistant.adapters.jobs.sealed_entries import post_result, seal_result
from meeting_assistant.adapters.jobs.sealing import FleetKeys
from meeting_assistant.domain.jobs import JobKind
from meeting_assistant.net.signatures import TOLERANCE_S, signature
from meeting_assistant.services.fleet.messages import Hello, WorkerMessage, encode
from meeting_assistant.testing.harness.fleet import KEYS, Fleet, under_way
from meeting_assistant.testing.servers.redis import RedisProcess

NOWHERE = "http://127.0.0.1:9"
POST, SOCKET, LOST = range(3)
"""The gateways."""
NUMBERS = [3, 14, 15]
HELLO = WorkerMessage(
    meeting_id="no-such-meeting",
    attempt="attempt",
    body=Hello(worker="w", job=JobKind.LIVE_SESSION, offer="o", lease="l", engines={}),
)
OTHER = FleetKeys([bytes(32)])


def sealed(gateway: int, text: str = encode(HELLO), keys: FleetKeys = KEYS) -> bytes:
    """A message to a gateway."""
    return post_result(seal_result(keys, f"gateway{gateway}", text)).encode()


@pytest.fixture(scope="module")
def fleet(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One gateway for each transport, one with an unreachable address, and two workers."""
    folder = tmp_path_factory.mktemp("callbacks")
    broker = RedisProcess(redis_server, folder / "redis")
    broker.start()
    fleet = Fleet(folder, broker, {"FLEET__CALLBACK_HOSTS": "127.0.0.1"})
    fleet.add_gateways(1, callback="http")
    fleet.add_gateways(1, callback="ws")
    fleet.env["FLEET__CALLBACK_URL"] = NOWHERE
    fleet.add_gateways(1)
    fleet.add_workers(2)
    yield fleet
    fleet.close()
    broker.close()


def has_inbox(fleet: Fleet, gateway: int) -> bool:
    return bool(fleet.broker.client().exists(f"meeting-assistant:inbox:gateway{gateway}"))


@pytest.mark.parametrize("gateway", [POST, SOCKET], ids=["post", "websocket"])
async def test_results_are_sent_to_the_gateways_address_and_not_through_redis(
    fleet: Fleet, gateway: int
) -> None:
    await fleet.start_meeting(gateway, NUMBERS).check()
    assert not has_inbox(fleet, gateway)


async def test_results_for_an_unreachable_gateway_arrive_in_its_inbox(
    fleet: Fleet,
) -> None:
    await fleet.start_meeting(LOST, NUMBERS).check()
    assert has_inbox(fleet, LOST)


@pytest.mark.long
@pytest.mark.parametrize("gateway", [POST, SOCKET], ids=["post", "websocket"])
async def test_another_worker_takes_over_from_a_killed_one(fleet: Fleet, gateway: int) -> None:
    meeting = fleet.start_meeting(gateway, NUMBERS)
    await under_way([meeting])
    fleet.busiest().signal(signal.SIGKILL)
    await meeting.check()
    fleet.mend(2)


def signed(content: bytes, *, keys: FleetKeys = KEYS, at_s: float | None = None) -> dict[str, str]:
    name, stamp = secrets.token_hex(12), str(int(time.time() if at_s is None else at_s))
    return {
        "webhook-id": name,
        "webhook-timestamp": stamp,
        "webhook-signature": signature(keys.signing_keys, name, stamp, content),
    }


MESSAGE, FOR_ANOTHER, SENSELESS = sealed(POST), sealed(SOCKET), sealed(POST, "{}")
REFUSED: dict[str, tuple[Callable[[], dict[str, str]], bytes, int]] = {
    "unsigned": (dict, MESSAGE, 401),
    "other key": (lambda: signed(MESSAGE, keys=OTHER), MESSAGE, 401),
    "signed long ago": (lambda: signed(MESSAGE, at_s=0), MESSAGE, 401),
    "altered": (lambda: signed(MESSAGE), MESSAGE + b" ", 401),
    "time that is no number": (lambda: {**signed(MESSAGE), "webhook-timestamp": "soon"}, MESSAGE, 401),
    "time without end": (lambda: {**signed(MESSAGE), "webhook-timestamp": "9" * 5000}, MESSAGE, 401),
    "no message": (lambda: signed(b"no message"), b"no message", 422),
    "not sealed": (lambda: signed(encode(HELLO).encode()), encode(HELLO).encode(), 422),
    "for another gateway": (lambda: signed(FOR_ANOTHER), FOR_ANOTHER, 422),
    "without content": (lambda: signed(SENSELESS), SENSELESS, 422),
}


@pytest.mark.parametrize(("sign", "content", "status"), REFUSED.values(), ids=REFUSED)
def test_a_message_that_is_not_signed_and_sealed_for_this_gateway_is_refused(
    fleet: Fleet, sign: Callable[[], dict[str, str]], content: bytes, status: int
) -> None:
    headers = sign()
    with httpx.Client(base_url=fleet.gateways[POST].url, trust_env=False) as http:
        answer = http.post("/api/fleet/events", content=content, headers=headers)
        assert answer.status_code == status
        assert answer.json()["error"]["remedy"]
        assert http.post("/api/fleet/events", content=MESSAGE, headers=signed(MESSAGE)).status_code == 204


def test_a_replayed_message_is_refused(fleet: Fleet) -> None:
    headers = signed(MESSAGE)
    with httpx.Client(base_url=fleet.gateways[POST].url, trust_env=False) as http:
        answers = [http.post("/api/fleet/events", content=MESSAGE, headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [204, 409, 409]
    assert answers[1].json()["error"]["remedy"]


async def test_a_socket_without_a_message_is_closed(fleet: Fleet) -> None:
    async with connect(f"{fleet.gateways[SOCKET].ws_url}/ws/fleet", proxy=None) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


async def test_a_socket_accepts_each_message_once(fleet: Fleet) -> None:
    content = sealed(SOCKET)
    frame = json.dumps({**signed(content), "message": content.decode()})
    async with connect(f"{fleet.gateways[SOCKET].ws_url}/ws/fleet", proxy=None) as socket:
        await socket.send(frame)
        assert await socket.recv() == "{}"
        await socket.send(frame)
        with pytest.raises(ConnectionClosed):
            await socket.recv()


async def test_a_socket_with_an_unsigned_message_is_closed(fleet: Fleet) -> None:
    content = sealed(SOCKET)
    for message in (
        "hello",
        json.dumps({**signed(content, keys=OTHER), "message": content.decode()}),
        json.dumps({**signed(content, at_s=time.time() - 2 * TOLERANCE_S), "message": content.decode()}),
        json.dumps({**signed(MESSAGE), "message": MESSAGE.decode()}),  # it is for another gateway
    ):
        async with connect(f"{fleet.gateways[SOCKET].ws_url}/ws/fleet", proxy=None) as socket:
            await socket.send(message)
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008
