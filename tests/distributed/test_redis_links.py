"""Links over Redis, beyond the contract of every broker (`tests/contract/test_fleet_links.py`)."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import pytest
from prometheus_client import REGISTRY

from meeting_assistant.adapters.jobs.callbacks import Callbacks
from meeting_assistant.adapters.jobs.redis_gateway import RedisGatewayLink
from meeting_assistant.adapters.jobs.redis_relay import RedisRelayLink
from meeting_assistant.adapters.jobs.redis_warnings import address_warnings
from meeting_assistant.adapters.jobs.redis_worker import MAX_UNSEALED_DELIVERIES, RedisWorkerLink
from meeting_assistant.adapters.jobs.sealing import FleetKeys
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.ports import AudioFrame, EngineInfo
from meeting_assistant.services.fleet.messages import Audio, Progress, WorkerMessage, WorkerState, encode
from meeting_assistant.services.fleet.remote_sessions import RemoteSessions
from meeting_assistant.testing.harness.fleet import KEYS
from meeting_assistant.testing.servers.redis import RedisProcess

Links = tuple[RedisGatewayLink, RedisWorkerLink]
JOB = InferenceJob(kind=JobKind.LIVE_SESSION, meeting_id="meeting", gateway="gateway")
FRAME = AudioFrame(encode(Audio(offset=0)), bytes(1600))
ENGINE = EngineInfo("numbers", "numbers", ("en",), max_window_s=30)


@pytest.fixture(scope="module")
def broker(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    redis = RedisProcess(redis_server, tmp_path_factory.mktemp("links") / "redis")
    redis.start()
    yield redis
    redis.close()


@pytest.fixture
async def links(broker: RedisProcess) -> AsyncIterator[Links]:
    broker.client().flushall()
    gateway = RedisGatewayLink(broker.url, "gateway", KEYS)
    worker = RedisWorkerLink(broker.url, "worker", KEYS, lease_s=1)
    yield gateway, worker
    await gateway.close()
    await worker.close()


def refused(kind: str) -> float:
    return REGISTRY.get_sample_value("meeting_assistant_fleet_refused_total", {"kind": kind}) or 0.0


def partial(attempt: str) -> str:
    return encode(WorkerMessage(meeting_id="meeting", attempt=attempt, body=Progress(share=0.5)))


async def test_an_unreadable_message_in_an_inbox_does_not_block_the_others(
    links: Links, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, worker = links
    sessions = RemoteSessions(gateway, "gateway", ENGINE)
    received: asyncio.Queue[WorkerMessage] = asyncio.Queue()
    monkeypatch.setattr(sessions, "on_message", received.put_nowait)
    await sessions.start()
    async with asyncio.timeout(10):
        while True:  # what was sent before the gateway began to read is void
            for junk in ({"message": "no JSON"}, {"message": b"\xff"}, {"something": "else"}):
                await worker.client.xadd("meeting-assistant:inbox:gateway", junk)  # type: ignore[arg-type]
            await worker.send(JOB, partial("attempt"))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    message = await received.get()
                    break
    assert message.attempt == "attempt"
    await sessions.close()


@pytest.mark.parametrize("what", ["send audio", "send", "receive audio"])
async def test_a_task_cancelled_during_a_command_stops(links: Links, what: str) -> None:
    """The timeout of redis-py loses some cancellations, so that a stopping worker would continue."""
    gateway, worker = links
    dice = random.Random(1)

    async def work(attempt: str) -> None:
        while True:
            if what == "send audio":
                await gateway.send_audio(attempt, FRAME)
                await gateway.discard_audio(attempt)
            elif what == "send":
                await worker.send(JOB, partial(attempt))
            else:
                await gateway.send_audio(attempt, FRAME)
                async for _ in worker.audio(attempt):
                    break

    for number in range(100):
        task = asyncio.create_task(work(f"{what}-{number}"))
        for _ in range(dice.randrange(40)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task}, timeout=10)
        assert task.cancelled(), f"it went on after cancellation {number}"


# --- attackers with access to Redis ------------------------------------------------------------------------


def strangers(broker: RedisProcess) -> Any:
    """The connection of a client without the secret."""
    return broker.client()


async def received(worker: RedisWorkerLink, attempt: str, count: int) -> list[AudioFrame]:
    frames = []
    async with asyncio.timeout(10), aclosing(worker.audio(attempt)) as stream:
        async for frame in stream:
            frames.append(frame)
            if len(frames) == count:
                break
    return frames


async def test_forged_copied_or_moved_audio_reaches_no_worker(broker: RedisProcess, links: Links) -> None:
    gateway, worker = links
    before, client = refused("audio"), strangers(broker)
    frames = [AudioFrame(f"{number}", bytes([number]) * 8) for number in range(3)]
    for frame in frames[:2]:
        await gateway.send_audio("attempt", frame)
        await gateway.send_audio("another", AudioFrame("another", b"sound"))
    stream = "meeting-assistant:audio:attempt"
    (first, *_), others = client.xrange(stream), client.xrange("meeting-assistant:audio:another")
    client.xadd(stream, {"message": '{"type":"end","offset":0}', "pcm": b""})
    client.xadd(stream, first[1])  # a copy: dropped, not counted, for a gateway may have sent it twice
    client.xadd(stream, others[0][1])
    client.xadd(stream, {**first[1], b"number": b"3"})
    await gateway.send_audio("attempt", frames[2])
    assert await received(worker, "attempt", 3) == frames
    assert refused("audio") == before + 3


async def test_forged_or_moved_results_reach_no_gateway(broker: RedisProcess, links: Links) -> None:
    gateway, worker = links
    before, client = refused("result"), strangers(broker)
    inbox, messages = "meeting-assistant:inbox:gateway", gateway.messages()
    reading = asyncio.ensure_future(anext(messages))
    async with asyncio.timeout(10):
        while not reading.done():  # what was sent before the gateway began to read is void
            await worker.send(JOB, "begin")
            await asyncio.wait({reading}, timeout=0.05)
        await worker.send(JOB.model_copy(update={"gateway": "elsewhere"}), "for another gateway")
        ((_, moved),) = client.xrange("meeting-assistant:inbox:elsewhere")
        forged: list[Any] = [
            {"message": partial("attempt")},
            {"sealed": partial("attempt")},
            {"sealed": KEYS.seal(partial("attempt").encode(), "result", "elsewhere")},
            {"sealed": FleetKeys([bytes(32)]).seal(partial("attempt").encode(), "result", "gateway")},
            moved,
        ]
        for fields in forged:
            client.xadd(inbox, fields)
        await worker.send(JOB, "end")
        texts = ["begin"]
        while texts[-1] != "end":
            texts.append(await anext(messages))
    assert set(texts) == {"begin", "end"}
    assert refused("result") == before + len(forged)


async def test_a_forged_job_is_refused_and_becomes_a_dead_letter(broker: RedisProcess, links: Links) -> None:
    """It may be one of a machine with another secret: it is delivered some times before."""
    gateway, worker = links
    before, client, live = refused("job"), strangers(broker), "meeting-assistant:jobs.live"
    await gateway.submit(JOB.model_copy(update={"kind": JobKind.TRANSCRIBE_FILE}))
    held = await worker.take(1, [JobKind.TRANSCRIBE_FILE])
    assert held is not None
    ((_, moved),) = client.xrange("meeting-assistant:jobs.file")
    client.xadd(live, moved)
    deliveries = 0
    async with asyncio.timeout(30):
        while client.xlen(live):
            assert await worker.take(0.05, [JobKind.LIVE_SESSION]) is None
            for one in client.xpending_range(live, "workers", "-", "+", 1):
                deliveries = max(deliveries, one["times_delivered"])
                client.xclaim(live, "workers", "released", 0, [one["message_id"]], idle=10_000, justid=True)
    assert deliveries == MAX_UNSEALED_DELIVERIES
    assert refused("job") == before + MAX_UNSEALED_DELIVERIES + 1
    assert client.xlen(f"{live}.dead") == 1
    assert client.ttl(f"{live}.dead") > 0


@pytest.mark.parametrize(
    ("address", "is_allowed"),
    [
        ("http://gateway-1:8000", True),
        ("wss://gateway-2.gateways.example", True),
        ("http://gateways.example", False),
        ("http://evil-gateways.example", False),
        ("http://gateway-1.evil.example", False),
        ("http://gateway-1@evil.example", False),
        ("http://169.254.169.254/latest", False),
        ("", False),
    ],
)
async def test_a_worker_sends_results_only_to_hosts_named_in_its_settings(
    broker: RedisProcess,
    links: Links,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    address: str,
    is_allowed: bool,
) -> None:
    called: list[str] = []

    async def call(self: Callbacks, address: str, message: str) -> None:
        called.append(address)

    monkeypatch.setattr(Callbacks, "send", call)
    callbacks = Callbacks(KEYS.signing_keys, ["gateway-1", "*.gateways.example"])
    worker = RedisWorkerLink(broker.url, "confined", KEYS, lease_s=1, callbacks=callbacks)
    for _ in range(2):
        await worker.send(JOB.model_copy(update={"reply": address}), partial("attempt"))
    await worker.close()
    assert called == ([address] * 2 if is_allowed else [])
    assert broker.client().xlen("meeting-assistant:inbox:gateway") == (0 if is_allowed else 2)
    assert caplog.text.count("FLEET__CALLBACK_HOSTS does not name") == bool(address and not is_allowed)


async def test_forged_worker_states_and_those_with_another_secret_do_not_count(
    broker: RedisProcess, links: Links
) -> None:
    gateway, worker = links
    state = encode(WorkerState(name="worker", slots=1000, busy=0, engines={}))
    stranger = RedisWorkerLink(broker.url, "stranger", FleetKeys([bytes(32)]), lease_s=1)
    await stranger.announce(state)
    await worker.announce(state)
    client = strangers(broker)
    client.set("meeting-assistant:worker:copy", client.get("meeting-assistant:worker:worker") or b"")
    client.set("meeting-assistant:worker:plain", state)
    sessions = RemoteSessions(gateway, "gateway", ENGINE)
    await sessions.start()
    assert [one.name for one in sessions.workers] == ["worker"]
    assert sessions.problem is not None
    assert "The worker stranger has another FLEET__SECRET than this gateway." in sessions.problem
    await sessions.close()
    await stranger.close()


async def test_events_between_servers_are_sealed_and_cannot_be_forged(broker: RedisProcess) -> None:
    north, south = (RedisRelayLink(broker.url, KEYS) for _ in range(2))
    before, client = refused("event"), strangers(broker)
    await south.watch(["meeting", "another"])
    messages = south.messages()
    assert await north.watched_elsewhere(["meeting", "nobody"]) == {"meeting"}
    assert await south.watched_elsewhere(["meeting"]) == set()
    channels = client.pubsub_channels("meeting-assistant:watch:*")
    assert channels
    assert not [one for one in channels if b"another" in one or one.endswith(b":meeting")]
    eavesdropper = client.pubsub()
    eavesdropper.psubscribe("meeting-assistant:watch:*")
    reading = asyncio.ensure_future(anext(messages))
    async with asyncio.timeout(10):
        while not reading.done():  # until it is subscribed
            await north.publish("meeting", "a caption")
            await asyncio.wait({reading}, timeout=0.05)
        assert await reading == ("meeting", "a caption")
        for channel in channels:
            client.publish(channel, b"a caption")
        await north.publish("another", "the end")
        while (arrived := await anext(messages)) != ("another", "the end"):
            assert arrived == ("meeting", "a caption")
    assert refused("event") >= before + 1
    heard = []
    while (message := eavesdropper.get_message(timeout=0.1)) is not None:
        heard.append(message["data"])
    assert any(isinstance(data, bytes) and len(data) > 40 for data in heard)
    assert not [
        data for data in heard if isinstance(data, bytes) and data != b"a caption" and b"caption" in data
    ]
    for link in (north, south):
        await link.close()
    eavesdropper.close()


# --- how Redis is configured -------------------------------------------------------------------------------


async def test_a_redis_that_writes_to_its_disk_or_does_not_say_so_is_named(
    broker: RedisProcess, links: Links
) -> None:
    gateway, worker = links
    client = broker.client()
    (warning,) = await gateway.warnings()
    assert warning.startswith("Redis writes to its disk (appendonly yes): what is deleted stays there")
    assert await worker.warnings() == [warning]
    client.config_set("save", "3600 1")
    assert "appendonly yes, save 3600 1" in (await gateway.warnings())[0]
    client.config_set("save", "")
    client.config_set("appendonly", "no")
    try:
        assert await gateway.warnings() == []
        client.acl_setuser(
            "confined", enabled=True, nopass=True, categories=["+@all"], commands=["-config"], keys=["*"]
        )
        confined = RedisGatewayLink(broker.url.replace("//", "//confined:any@"), "gateway", KEYS)
        (warning,) = await confined.warnings()
        assert "CONFIG GET is refused" in warning
        await confined.close()
    finally:
        client.config_set("appendonly", "yes")


@pytest.mark.parametrize(
    ("url", "count"),
    [
        ("redis://127.0.0.1:6379/0", 0),
        ("redis://localhost", 0),
        ("unix:///run/redis.sock", 0),
        ("rediss://:secret@redis.example:6379/0", 0),
        ("redis://:secret@redis.example:6379/0", 1),
        ("rediss://redis.example:6379/0", 1),
        ("rediss://redis.example:6379/0?password=secret", 0),
        ("redis://redis:6379/0", 2),
    ],
)
def test_a_redis_on_another_machine_wants_tls_and_a_password(url: str, count: int) -> None:
    warnings = address_warnings(url)
    assert len(warnings) == count
    assert "secret" not in " ".join(warnings)
