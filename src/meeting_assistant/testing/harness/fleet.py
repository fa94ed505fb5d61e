"""A fleet on this machine for tests and benchmarks: a real Redis, gateways, and workers with a deterministic engine."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from meeting_assistant.adapters.jobs.sealed_entries import open_state
from meeting_assistant.adapters.jobs.sealing import FleetKeys
from meeting_assistant.client import LiveClient, paced
from meeting_assistant.launcher import ServerProcess, free_port, inherited_environment
from meeting_assistant.net.signatures import key_of
from meeting_assistant.testing.doubles.fake_speech import spoken, words_of
from meeting_assistant.testing.harness.fork_server import start_process
from meeting_assistant.testing.servers.link_proxy import LinkProxy
from meeting_assistant.testing.servers.redis import RedisProcess

LEASE_S = 1.5
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
KEYS = FleetKeys([key_of(SECRET)])


class WorkerProcess:
    """A worker with a deterministic engine, in a process of its own."""

    def __init__(
        self,
        name: str,
        env: dict[str, str],
        decode_s: float,
        log: Path,
        *,
        diarize_s: float = 0.0,
    ) -> None:
        """`log`: receives standard error. `diarize_s`: for a whole recording, where `DIARIZATION_ENGINE` asks for
        offline diarization."""
        self.name = name
        self.log = log
        readable, writable = os.pipe()
        self._ready = os.fdopen(readable)
        with log.open("ab") as errors:
            self._process = start_process(
                "meeting_assistant.testing.doubles.fake_speech",
                str(decode_s),
                str(diarize_s),
                env={**inherited_environment(), **env, "FLEET__NAME": name},
                out=writable,
                err=errors.fileno(),
            )
        os.close(writable)

    def wait_until_ready(self) -> None:
        assert self._ready.readline().strip() == "ready", self.log.read_text()

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def has_logged(self, message: str) -> bool:
        return message in self.log.read_text()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, timeout_s: float = 20) -> int:
        return self._process.wait(timeout_s)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
        self._process.wait()
        self._ready.close()


class RunningMeeting:
    """A live meeting in which these numbers are spoken, at the pace of speech."""

    def __init__(self, gateway: ServerProcess, numbers: list[int], *, is_fast: bool = False) -> None:
        self.numbers = numbers
        self.has_words = asyncio.Event()
        """Its first words were shown: it is in the middle of what is spoken."""
        self._shown_at_s: list[float] = []
        client = LiveClient(gateway.ws_url, on_message=self._note)
        audio = spoken(numbers).tobytes()
        self.final: asyncio.Task[Any] = asyncio.create_task(client.stream(paced(audio, is_fast=is_fast)))

    def _note(self, message: Any) -> None:
        if message["type"] in ("transcript", "partial_transcript"):
            self._shown_at_s.append(time.monotonic())
            self.has_words.set()

    @property
    def longest_silence_s(self) -> float:
        """The longest time between two captions."""
        return max((b - a for a, b in itertools.pairwise(self._shown_at_s)), default=0.0)

    async def check(self) -> None:
        """Wait for its end, and check that every number is there once, in order, and nothing else."""
        check(self.numbers, dict(await self.final))


async def under_way(meetings: Sequence[RunningMeeting]) -> None:
    """Wait until words of every meeting were shown."""
    async with asyncio.timeout(60):
        await asyncio.gather(*(meeting.has_words.wait() for meeting in meetings))


async def until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    """Wait for a state of other processes, of which no event tells. `condition` runs on a thread."""
    deadline = time.monotonic() + timeout_s
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, "it did not come to that"
        await asyncio.sleep(0.05)


class Fleet:
    """Two gateways and as many workers as are asked for."""

    def __init__(self, folder: Path, broker: RedisProcess, env: dict[str, str] | None = None) -> None:
        self._folder = folder
        self.broker = broker
        self.env = {
            "ORCHESTRATOR_BACKEND": "redis",
            "REDIS_URL": broker.url,
            "FLEET__SECRET": SECRET,
            "FLEET__LEASE_SECONDS": str(LEASE_S),
            "FLEET__SLOTS": "12",
            "SESSION_GRACE_SECONDS": "60",
            "DIARIZATION_ENGINE": "off",
            **(env or {}),
        }
        self.gateways: list[ServerProcess] = []
        self.workers: list[WorkerProcess] = []

    def add_gateways(self, count: int, *, callback: str = "") -> None:
        """`callback`: results come to the gateway's own address, `http` or `ws`, and not through Redis."""
        for _ in range(count):
            name, port = f"gateway{len(self.gateways)}", free_port()
            env = {**self.env, "FLEET__NAME": name}
            if callback:
                env |= {"FLEET__CALLBACK_URL": f"{callback}://127.0.0.1:{port}"}
            server = ServerProcess(self._folder / name, env, port=port)
            server.start()
            self.gateways.append(server)

    def new_worker(
        self, name: str, env: dict[str, str] | None = None, decode_s: float = 0.03, *, diarize_s: float = 0.0
    ) -> WorkerProcess:
        """A worker that is being started; what it logs is in a file of its own."""
        log = self._folder / f"{name}.log"
        return WorkerProcess(name, {**self.env, **(env or {})}, decode_s, log, diarize_s=diarize_s)

    def add_workers(self, count: int, decode_s: float = 0.03) -> list[WorkerProcess]:
        added = [
            self.new_worker(f"worker{len(self.workers) + n}-{secrets.token_hex(2)}", decode_s=decode_s)
            for n in range(count)
        ]
        for worker in added:
            worker.wait_until_ready()
        self.workers += added
        deadline = time.monotonic() + 20
        while any(gateway.get("/api/capacity")["more"] == 0 for gateway in self.gateways):
            assert time.monotonic() < deadline, "no gateway knows of the workers"
            time.sleep(0.1)
        return added

    def mend(self, workers: int) -> None:
        """Start as many workers as are missing."""
        for worker in [one for one in self.workers if not one.is_running]:
            worker.close()
            self.workers.remove(worker)
        if len(self.workers) < workers:
            self.add_workers(workers - len(self.workers))

    def busiest(self) -> WorkerProcess:
        """The worker with the most meetings."""
        client = self.broker.client()
        states = []
        for worker in self.workers:
            published: Any = client.get(f"meeting-assistant:worker:{worker.name}")
            if published is not None:
                states.append(json.loads(open_state(KEYS, worker.name, published.decode())))
        name = max(states, key=lambda state: state["busy"])["name"]
        return next(worker for worker in self.workers if worker.name == name)

    @contextlib.asynccontextmanager
    async def worker_behind_proxy(self) -> AsyncIterator[tuple[WorkerProcess, LinkProxy]]:
        """Replace a worker with one whose link to Redis can be cut or stalled; yields it and its proxy."""
        async with LinkProxy(self.broker.port) as proxy:
            away = self.workers.pop()
            away.close()
            env = {"REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0"}
            worker = self.new_worker(f"far-{secrets.token_hex(2)}", env)
            await asyncio.to_thread(worker.wait_until_ready)
            self.workers.append(worker)
            yield worker, proxy
            worker.close()

    def wait_until_full(self) -> None:
        """No gateway knows of a free slot."""
        deadline = time.monotonic() + 20
        while any(gateway.get("/api/capacity")["more"] for gateway in self.gateways):
            assert time.monotonic() < deadline, "there is still room"
            time.sleep(0.1)

    def wait_until_empty(self) -> None:
        """No work is left in Redis."""
        deadline = time.monotonic() + 20
        while self.left():
            assert time.monotonic() < deadline, self.left()
            time.sleep(0.1)

    def start_meeting(self, gateway: int, numbers: list[int], *, is_fast: bool = False) -> RunningMeeting:
        """Begin a meeting over a gateway."""
        return RunningMeeting(self.gateways[gateway], numbers, is_fast=is_fast)

    def hold_many(self, count: int, items: int) -> list[RunningMeeting]:
        """Begin many meetings at once, over all gateways; each has numbers of its own."""
        return [
            self.start_meeting(
                meeting % len(self.gateways), [meeting * items % 400 + item for item in range(items)]
            )
            for meeting in range(count)
        ]

    def has_problem(self, words: str) -> bool:
        """Return True when every gateway reports such a problem."""
        return all(words in str(gateway.get("/health")["problems"]) for gateway in self.gateways)

    def metric(self, name: str) -> float:
        """Summed over all gateways."""
        total = 0.0
        for gateway in self.gateways:
            for line in gateway.get_text("/metrics").splitlines():
                if line.startswith((f"meeting_assistant_{name} ", f"meeting_assistant_{name}{{")):
                    total += float(line.rsplit(" ", 1)[1])
        return total

    def left(self) -> dict[str, int]:
        """Count what is left of work in Redis: entries of job streams, of audio and of inboxes."""
        client = self.broker.client()
        keys = [key.decode() for key in client.scan_iter("meeting-assistant:*")]
        found = {}
        for key in keys:
            if ":jobs." in key or ":audio:" in key or ":inbox:" in key:
                length = int(client.xlen(key))
                if length:
                    found[key] = length
        return found

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        for gateway in self.gateways:
            gateway.stop()


def check(numbers: list[int], final: dict[str, Any]) -> None:
    """Check that every number is there once, in order, and nothing else; no gap, all of the audio."""
    texts = [utterance["text"].rstrip(".").casefold() for utterance in final["transcript"]["utterances"]]
    assert texts == [words_of(number) for number in numbers]
    assert final["transcript"]["gaps"] == []
    coverage = final["coverage"]
    assert coverage["captured_s"] == coverage["transcribed_s"], coverage
    assert final["errors"] == []
