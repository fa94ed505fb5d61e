"""A fleet on this machine for tests and benchmarks: a real Redis, gateways, workers that hear deterministically."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any

import redis

from meeting_assistant.client import LiveClient, paced
from meeting_assistant.launcher import ServerProcess, free_port, inherited_environment
from meeting_assistant.testing.doubles.fake_speech import spoken, words_of
from meeting_assistant.testing.harness.fork_server import start_process

LEASE_S = 1.5


class RedisProcess:
    """A redis-server of one's own, with its file of what was written (AOF)."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program, self._folder = program, folder
        self._folder.mkdir()
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        command += ["--appendonly", "yes", "--save", "", "--loglevel", "warning"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            try:
                self.client().ping()
            except redis.ConnectionError:
                time.sleep(0.02)
            else:
                return
        raise AssertionError("redis-server did not come up")

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class WorkerProcess:
    def __init__(
        self,
        name: str,
        env: dict[str, str],
        decode_s: float,
        log: IO[bytes] | None = None,
        *,
        hearing_out_s: float = 0.0,
    ) -> None:
        """`hearing_out_s`: for a whole recording, where `DIARIZATION_ENGINE` has workers hear it out."""
        self.name = name
        readable, writable = os.pipe()
        self._told = os.fdopen(readable)
        self._process = start_process(
            "meeting_assistant.testing.doubles.fake_speech",
            str(decode_s),
            str(hearing_out_s),
            env={**inherited_environment(), **env, "FLEET__NAME": name},
            out=writable,
            err=2 if log is None else log.fileno(),
        )
        os.close(writable)

    def wait_until_ready(self) -> None:
        assert self._told.readline().strip() == "ready"

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, timeout_s: float = 20) -> int:
        return self._process.wait(timeout_s)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
        self._process.wait()
        self._told.close()


class CutProxy:
    """A TCP link that can be cut: what is open breaks, and nothing new gets through until it is mended."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._links: set[asyncio.Task[None]] = set()
        self._is_cut = False
        self.port = 0

    async def __aenter__(self) -> CutProxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        assert self._server is not None
        self._server.close()
        await asyncio.gather(*self._links, return_exceptions=True)

    def cut(self) -> None:
        """From now on."""
        self._is_cut = True
        for writer in list(self._open):
            writer.transport.abort()

    def mend(self) -> None:
        """New connections get through again."""
        self._is_cut = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        assert link is not None
        self._links.add(link)
        link.add_done_callback(self._links.discard)
        if self._is_cut:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        both = (writer, far_writer)
        self._open.update(both)

        async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(1 << 16):
                    sink.write(data)
                    await sink.drain()
            for one in both:
                one.transport.abort()

        await asyncio.gather(pass_on(reader, far_writer), pass_on(far_reader, writer))
        self._open.difference_update(both)


class Fleet:
    """Two gateways and as many workers as are asked for."""

    def __init__(self, folder: Path, carrier: RedisProcess, env: dict[str, str] | None = None) -> None:
        self._folder = folder
        self.carrier = carrier
        self.env = {
            "ORCHESTRATOR_BACKEND": "redis",
            "REDIS_URL": carrier.url,
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

    def add_workers(
        self, count: int, decode_s: float = 0.03, log: IO[bytes] | None = None
    ) -> list[WorkerProcess]:
        """`log`: for what they write to standard error, if it is not to be seen."""
        added = [
            WorkerProcess(f"worker{len(self.workers) + n}-{secrets.token_hex(2)}", self.env, decode_s, log)
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
        client = self.carrier.client()
        states = [
            json.loads(state) for state in client.mget(client.keys("meeting-assistant:worker:*")) if state
        ]
        name = max(states, key=lambda state: state["busy"])["name"]
        return next(worker for worker in self.workers if worker.name == name)

    @contextlib.asynccontextmanager
    async def worker_behind_proxy(self) -> AsyncIterator[CutProxy]:
        """One of the workers reaches Redis by a link that can be cut."""
        async with CutProxy(self.carrier.port) as proxy:
            away = self.workers.pop()
            away.close()
            env = {**self.env, "REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0"}
            worker = WorkerProcess(f"far-{secrets.token_hex(2)}", env, 0.03)
            await asyncio.to_thread(worker.wait_until_ready)
            self.workers.append(worker)
            yield proxy
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

    async def hold(self, gateway: int, numbers: list[int], *, is_fast: bool = False) -> dict[str, Any]:
        """A live meeting in which these numbers are said, at the pace of speech."""
        arrivals: list[float] = []

        def note(message: Any) -> None:
            if message["type"] in ("transcript", "partial_transcript"):
                arrivals.append(time.monotonic())

        client = LiveClient(self.gateways[gateway].ws_url, on_message=note)
        final = dict(await client.stream(paced(spoken(numbers).tobytes(), is_fast=is_fast)))
        final["longest_silence_s"] = max((b - a for a, b in itertools.pairwise(arrivals)), default=0.0)
        return final

    async def hold_many(self, count: int, items: int) -> list[tuple[list[int], asyncio.Task[dict[str, Any]]]]:
        """So many meetings at once, over all gateways; each says numbers of its own."""
        meetings = []
        for meeting in range(count):
            numbers = [meeting * items % 400 + item for item in range(items)]
            task = asyncio.create_task(self.hold(meeting % len(self.gateways), numbers))
            meetings.append((numbers, task))
        return meetings

    def metric(self, name: str) -> float:
        """Summed over all gateways."""
        total = 0.0
        for gateway in self.gateways:
            for line in gateway.get_text("/metrics").splitlines():
                if line.startswith((f"meeting_assistant_{name} ", f"meeting_assistant_{name}{{")):
                    total += float(line.rsplit(" ", 1)[1])
        return total

    def left(self) -> dict[str, int]:
        """What is left of work in Redis: entries of job streams, of sound and of inboxes."""
        client = self.carrier.client()
        keys = [key.decode() for key in client.scan_iter("meeting-assistant:*")]
        found = {}
        for key in keys:
            if ":jobs." in key or ":sound:" in key or ":inbox:" in key:
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
    """Every number once, in order, nothing else; no gap, all of the sound."""
    said = [utterance["text"].rstrip(".").casefold() for utterance in final["transcript"]["utterances"]]
    assert said == [words_of(number) for number in numbers]
    assert final["transcript"]["gaps"] == []
    coverage = final["coverage"]
    assert coverage["captured_s"] == coverage["transcribed_s"], coverage
    assert final["errors"] == []
