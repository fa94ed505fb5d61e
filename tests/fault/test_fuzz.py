"""Malformed input from the network: no status 500, no hang, no traceback, no effect on other clients."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from meeting_assistant.adapters.audio.decoder import PyAvDecoder
from meeting_assistant.client import LiveClient, paced
from meeting_assistant.domain.errors import InputError
from meeting_assistant.domain.ports import DecodeLimits
from meeting_assistant.launcher import ServerProcess
from meeting_assistant.testing.harness.campaign import Campaign


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server whose log is read afterwards."""
    env = {
        "MAX_UPLOAD_BYTES": "200000",
        "SESSION_GRACE_SECONDS": "1",
        "CLIENT_LIMITS__IDLE_SECONDS": "5",
        "MAX_SESSIONS": "64",
    }
    with ServerProcess(tmp_path_factory.mktemp("fuzz") / "data", env) as server:
        yield server
    log = server.log_path.read_text()
    assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:4000]
    assert server.process is not None
    assert server.process.returncode == 0


# --- frames -----------------------------------------------------------------------------------------------


def frame(dice: random.Random) -> bytes:
    """A WebSocket frame that is often wrong: opcode, length, mask, fragments, UTF-8, JSON."""
    payload = dice.choice(
        [
            b'{"type": "start", "sample_rate": 16000, "channels": 1}',
            b'{"type": "start", "sample_rate": 1e99, "channels": [1]}',
            b'{"type": "stop"}',
            b'{"type": "bookmark", "note": "' + b"\xff\xfe" + b'"}',
            b'{"type": "ping"}' * 2,
            b"[" * dice.choice([10, 1000, 30_000]),
            b'{"a":' * dice.choice([10, 5000]),
            dice.randbytes(dice.randint(0, 200)),
            bytes(dice.randint(0, 70_000)),
            struct.pack(">H", dice.choice([1000, 999, 1005, 65535])) + b"bye",
        ]
    )
    opcode = dice.choice([0, 1, 1, 1, 2, 2, 2, 3, 7, 8, 9, 10, 15])
    first = (
        opcode
        | (0x80 if dice.random() < 0.8 else 0)
        | (dice.choice([0x10, 0x20, 0x40]) if dice.random() < 0.1 else 0)
    )
    length = len(payload) if dice.random() < 0.9 else dice.choice([0, 125, 126, 127, 65_537, 2**40, 2**63])
    is_masked = dice.random() < 0.95
    head = bytes([first])
    flag = 0x80 if is_masked else 0
    if length < 126:
        head += bytes([flag | length])
    elif length < 65_536:
        head += bytes([flag | 126]) + struct.pack(">H", length)
    else:
        head += bytes([flag | 127]) + struct.pack(">Q", length)
    if is_masked:
        mask = dice.randbytes(4)
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        head += mask
    return head + payload


async def attack(port: int, seed: int) -> None:
    dice = random.Random(seed)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET /ws/meetings HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(dice.randint(1, 12)):
            writer.write(frame(dice)[: dice.choice([10**9, dice.randint(1, 60)])])
            await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass  # the server hung up, which is an answer
    finally:
        writer.transport.abort()


@pytest.mark.timeout(0)
@pytest.mark.short(150)
def test_malformed_frames_affect_no_other_connection(
    target: ServerProcess, campaign: Campaign, hello: bytes
) -> None:
    port = int(target.url.rsplit(":", 1)[1])

    async def ask_all_the_time() -> None:
        """Measure how long the server takes to answer another client: a figure of the report, not a test."""
        loop = asyncio.get_running_loop()
        slowest = 0.0
        async with connect(f"{target.ws_url}/ws/meetings", proxy=None) as socket:
            await socket.send('{"type": "start", "sample_rate": 16000, "channels": 1}')
            try:
                while True:
                    began = loop.time()
                    await socket.send('{"type": "ping"}')
                    while json.loads(await socket.recv())["type"] != "pong":
                        pass
                    slowest = max(slowest, loop.time() - began)
                    await asyncio.sleep(0.05)
            finally:
                campaign.count(slowest_answer_ms=round(slowest * 1000))

    async def besiege() -> str:
        witness = asyncio.create_task(LiveClient(target.ws_url).stream(paced(hello, speed=2)))
        asking = asyncio.create_task(ask_all_the_time())
        seeds = campaign.seeds()
        for batch in iter(lambda: [seed for _, seed in zip(range(20), seeds, strict=False)], []):
            await asyncio.gather(*(attack(port, seed) for seed in batch))
            campaign.count(connections=len(batch))
        final = await witness
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        return " ".join(u["text"] for u in final["transcript"]["utterances"])

    assert "Monday" in asyncio.run(besiege())
    assert target.get("/ready")["ready"]


def test_an_endless_request_is_closed(target: ServerProcess) -> None:
    """Slow-loris: half a header, and then nothing."""

    async def dawdle() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(target.url.rsplit(":", 1)[1]))
        writer.write(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        try:
            async with asyncio.timeout(60):
                return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()

    assert asyncio.run(dawdle()) == b""


def test_an_endless_body_before_authentication_is_closed(target: ServerProcess) -> None:
    """Slow-loris: nothing after the headers, or a byte now and then."""
    port = int(target.url.rsplit(":", 1)[1])

    async def dawdle(path: str, kind: str, first: bytes, drip: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {kind}\r\n"
        writer.write(f"{head}Content-Length: 4000\r\n\r\n".encode() + first)

        async def keep_dripping() -> None:
            while drip:
                writer.write(drip)
                await asyncio.sleep(1)

        dripping = asyncio.create_task(keep_dripping())
        answer = b""
        try:
            async with asyncio.timeout(60):
                while piece := await reader.read(65536):
                    answer += piece
        except ConnectionResetError:  # by a byte that met the closed connection, after the answer
            pass
        finally:
            dripping.cancel()
            await asyncio.gather(dripping, return_exceptions=True)
            writer.close()
        return answer

    async def dawdle_everywhere() -> tuple[bytes, ...]:
        form = "multipart/form-data; boundary=x"
        file = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        return await asyncio.gather(
            dawdle("/api/session", "application/json", b"", b""),
            dawdle("/api/session", "application/json", b"", b" "),
            dawdle("/api/meetings", form, file, b""),
            dawdle("/api/meetings", form, file, b"-"),
        )

    for answer in asyncio.run(dawdle_everywhere()):
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408"), answer
        assert b"remedy" in body


def test_a_silent_socket_is_closed(target: ServerProcess) -> None:
    """Before `start` it is of no use; afterwards the meeting waits for its client."""

    async def wait(first: str | None) -> int | None:
        async with connect(f"{target.ws_url}/ws/meetings", proxy=None) as socket:
            if first is not None:
                await socket.send(first)
            async with asyncio.timeout(60):
                await socket.wait_closed()
            return socket.close_code

    async def wait_both() -> tuple[int | None, int | None]:
        start = '{"type": "start", "sample_rate": 16000, "channels": 1}'
        return await asyncio.gather(wait(None), wait(start))

    assert list(asyncio.run(wait_both())) == [1008, 4408]


async def test_slow_consumers_delay_nobody(target: ServerProcess, hello: bytes) -> None:
    """Slow consumers: sockets that are opened to watch and never read."""
    import socket as sockets

    port = int(target.url.rsplit(":", 1)[1])
    async with connect(f"{target.ws_url}/ws/meetings", proxy=None) as recording:
        await recording.send('{"type": "start", "sample_rate": 16000, "channels": 1}')
        meeting = json.loads(await recording.recv())["meeting_id"]
        lazy = []
        for _ in range(20):
            plain = sockets.create_connection(("127.0.0.1", port))
            plain.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
            key = base64.b64encode(os.urandom(16)).decode()
            plain.sendall(
                f"GET /ws/meetings/{meeting}/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
                f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            lazy.append(plain)
        sound = hello * 3
        for start in range(0, len(sound), 6400):
            await recording.send(sound[start : start + 6400])
        await recording.send('{"type": "stop"}')
        async with asyncio.timeout(60):
            while json.loads(await recording.recv())["type"] != "final":
                pass
        for plain in lazy:
            plain.close()


SHORT = 20
"""With fewer examples for each operation than this, the systematic phase is left out, too."""


# --- requests ---------------------------------------------------------------------------------------------


@pytest.mark.timeout(0)
@pytest.mark.short(2)
def test_no_request_causes_a_server_error(target: ServerProcess, campaign: Campaign) -> None:
    pytest.importorskip("schemathesis")
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{target.url}/openapi.json"),
        *("--checks", "not_a_server_error"),
        *("--max-examples", str(campaign.cycles), "--seed", str(campaign.seed)),
        *(
            "--phases",
            "fuzzing" if campaign.cycles < SHORT else "coverage,fuzzing",
            "--request-timeout",
            "20",
        ),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=3000)
    assert run.returncode == 0, (run.stdout + run.stderr)[-6000:]


@pytest.mark.parametrize(("path", "depth"), [("/api/session", 4000), ("/api/meetings/x/forget", 100_000)])
def test_deeply_nested_json_is_bad_input(target: ServerProcess, path: str, depth: int) -> None:
    import httpx

    answer = httpx.post(target.url + path, content=b"[" * depth, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 404, 422)
    assert answer.json()["error"]["code"]


def test_an_upload_is_cut_off_at_the_size_limit(target: ServerProcess, tmp_path: Path) -> None:
    import httpx

    announced = httpx.post(f"{target.url}/api/meetings", files={"file": ("a.wav", bytes(400_000))})
    assert announced.status_code == 413
    assert "MAX_UPLOAD_BYTES" in announced.json()["error"]["remedy"]

    def endless() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        for _ in range(100):
            yield bytes(10_000)

    try:
        counted = httpx.post(
            f"{target.url}/api/meetings",
            content=endless(),
            headers={"Content-Type": "multipart/form-data; boundary=x"},
        )
        assert counted.status_code == 413
    except httpx.WriteError:
        pass  # it hung up before all was sent
    big = httpx.post(f"{target.url}/api/session", content=bytes(300_000))
    assert big.status_code == 413


# --- containers -------------------------------------------------------------------------------------------


def mutated(raw: bytes, dice: random.Random) -> bytes:
    """Return the content with a part cut, flipped, repeated or stretched."""
    changed = bytearray(raw)
    for _ in range(dice.randint(1, 30)):
        changed[dice.randrange(len(changed))] = dice.randrange(256)
    kind = dice.randrange(4)
    if kind == 0:
        del changed[dice.randrange(len(changed)) :]
    elif kind == 1:
        at = dice.randrange(len(changed))
        changed[at:at] = dice.randbytes(dice.randint(1, 5000))
    elif kind == 2:
        at = dice.randrange(max(1, len(changed) - 4))
        changed[at : at + 4] = dice.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0"])
    return bytes(changed)


@pytest.mark.timeout(0)
@pytest.mark.short(8)
def test_damaged_files_are_decoded_or_refused_with_a_message(
    tmp_path: Path, campaign: Campaign, ffmpeg: str, hello: bytes
) -> None:
    originals = []
    (tmp_path / "hello.raw").write_bytes(hello)
    for suffix in ("ogg", "webm", "m4a", "wav", "flac", "mp3"):
        path = tmp_path / f"hello.{suffix}"
        source = ["-f", "s16le", "-ar", "16000", "-ac", "1", "-i", str(tmp_path / "hello.raw")]
        subprocess.run([ffmpeg, "-v", "error", "-y", *source, str(path)], check=True)
        originals.append(path.read_bytes())

    async def decode(seed: int) -> None:
        dice = random.Random(seed)
        path = tmp_path / f"{seed}.bin"
        path.write_bytes(mutated(dice.choice(originals), dice))
        decoder = PyAvDecoder()
        try:
            await decoder.probe(path)
            async for _ in decoder.decode(path, DecodeLimits(max_duration_s=60, idle_timeout_s=10)):
                pass
            campaign.count(decoded=1)
        except InputError:
            campaign.count(refused=1)
        path.unlink()

    async def all_of_them() -> None:
        seeds = campaign.seeds()
        for batch in iter(lambda: [seed for _, seed in zip(range(2), seeds, strict=False)], []):
            await asyncio.gather(*(decode(seed) for seed in batch))

    asyncio.run(all_of_them())
