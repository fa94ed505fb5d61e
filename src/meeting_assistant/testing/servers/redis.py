"""A redis-server for tests and benchmarks."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import redis

from meeting_assistant.launcher import free_port


class RedisProcess:
    """A redis-server of its own, with an append-only file."""

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
        command += ["--appendonly", "yes", "--save", "", "--rdbcompression", "no", "--loglevel", "warning"]
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

    def places_of(self, needles: Iterable[bytes]) -> set[tuple[str, bytes]]:
        """Search every byte: the memory of the process, names and values of all keys, and the files.

        Returns where something was found: `memory`, `key`, `value` or `file`, and what.
        """
        wanted, client = list(needles), self.client()
        keys: Any = list(client.scan_iter("*", count=1000))
        values = [client.dump(key) or b"" for key in keys]
        files = [path.read_bytes() for path in self._folder.rglob("*") if path.is_file()]
        places = {"key": keys, "value": values, "file": files, "memory": self._memory()}
        return {
            (place, needle)
            for place, contents in places.items()
            for content in contents
            for needle in wanted
            if needle in content
        }

    def _memory(self) -> Iterator[bytes]:
        assert self._process is not None
        process = Path("/proc") / str(self._process.pid)
        with (process / "mem").open("rb", buffering=0) as memory:
            for line in (process / "maps").read_text().splitlines():
                span, rights, *_ = line.split()
                if rights.startswith("rw"):
                    start, end = (int(edge, 16) for edge in span.split("-"))
                    with contextlib.suppress(OSError):  # not every region can be read
                        memory.seek(start)
                        yield memory.read(end - start)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
