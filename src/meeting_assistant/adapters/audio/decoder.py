"""Decoding of uploads in an isolated child process; implements `MediaDecoder`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meeting_assistant.domain.audio import samples_to_ms
from meeting_assistant.domain.errors import AudioFormatError, MeetingAssistantError, TooLargeError
from meeting_assistant.domain.ports import DecodeLimits, MediaInfo
from meeting_assistant.domain.transcript import Gap

CHUNK_BYTES = 1 << 16
PROBE_SECONDS = 30.0
MAX_REPORT_BYTES = 1 << 16
_MODULE = "meeting_assistant.adapters.audio.decode_child"
_SEND = "Send a recording: wav, mp3, m4a, ogg, opus, flac, webm, mp4 and the like."
_REASONS = {
    "not_audio": ("This file is not sound that can be read.", _SEND),
    "no_audio_stream": ("This file has no sound in it.", _SEND),
    "no_sound": ("This file says that it is sound, but holds none.", _SEND),
    "too_damaged": ("This file is too damaged to be read.", "Send the original recording."),
}


class PyAvDecoder:
    """Decodes with FFmpeg by PyAV, in one child process per file."""

    async def probe(self, path: Path) -> MediaInfo:
        """Open the file and decode its first frame. Raises AudioFormatError."""
        limits = DecodeLimits(max_cpu_s=int(PROBE_SECONDS))
        async with _child("probe", path, limits) as child:
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    report = await child.end_report()
            except TimeoutError:
                raise _failure("not_audio", limits) from None
        return MediaInfo(**report.check())

    async def decode(self, path: Path, limits: DecodeLimits | None = None) -> AsyncIterator[bytes | Gap]:
        """Yield canonical PCM in chunks of at most 64 KiB, then the gaps in it; the child waits for the reader."""
        limits = limits or DecodeLimits()
        async with _child("decode", path, limits) as child:
            assert child.process.stdout is not None
            while True:
                try:
                    async with asyncio.timeout(limits.idle_timeout_s):
                        piece = await child.process.stdout.read(CHUNK_BYTES)
                except TimeoutError:
                    raise _failure("too_damaged", limits) from None
                if not piece:
                    break
                yield piece
            report = await child.end_report()
            for gap in report.gaps:
                yield gap
            report.check()


@dataclass(slots=True)
class _Report:
    """What the child wrote on standard error."""

    limits: DecodeLimits
    exit_code: int
    info: dict[str, Any] | None = None
    error: object = None
    gaps: list[Gap] = field(default_factory=list)

    def check(self) -> dict[str, Any]:
        """Return the description of the file. Raises AudioFormatError, TooLargeError."""
        if self.error is not None or self.info is None or self.exit_code != 0:
            # Without an error of its own: killed by a limit, or crashed on a malformed file.
            raise _failure(self.error or "not_audio", self.limits)
        return self.info


class _Child:
    """The running process and its report on standard error."""

    def __init__(self, process: asyncio.subprocess.Process, limits: DecodeLimits) -> None:
        self.process = process
        self._limits = limits
        assert process.stderr is not None
        self._stderr = asyncio.create_task(_read_limited(process.stderr))

    async def end_report(self) -> _Report:
        """Wait for the end and return what the child reported."""
        lines = await self._stderr
        report = _Report(self._limits, await self.process.wait())
        for line in lines.splitlines():
            with contextlib.suppress(ValueError, AttributeError):
                fields = json.loads(line)
                report.info = fields.get("info", report.info)
                report.error = fields.get("error", report.error)
                if "unread" in fields:
                    start, end, reason = fields["unread"]
                    report.gaps.append(
                        Gap(start_ms=samples_to_ms(start), end_ms=samples_to_ms(end), reason=reason)
                    )
        return report

    async def end(self) -> None:
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
        self._stderr.cancel()
        await asyncio.gather(self._stderr, return_exceptions=True)
        await self.process.wait()


@contextlib.asynccontextmanager
async def _child(mode: str, path: Path, limits: DecodeLimits) -> AsyncIterator[_Child]:
    """Start a child with the file as standard input; it has ended when the block is left."""
    arguments = [mode, str(limits.max_duration_s), str(limits.max_memory_bytes), str(limits.max_cpu_s)]
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="decode-"))
        source = stack.enter_context(await asyncio.to_thread(path.open, "rb"))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-m", _MODULE, *arguments,
            stdin=source,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=folder,
            env={name: os.environ[name] for name in ("SYSTEMROOT", "LD_LIBRARY_PATH") if name in os.environ},
        )  # fmt: skip
        child = _Child(process, limits)
        try:
            yield child
        finally:
            await asyncio.shield(child.end())


async def _read_limited(stream: asyncio.StreamReader) -> str:
    """Return the beginning of the stream; all of it is read, so that the child never waits."""
    kept = b""
    while piece := await stream.read(4096):
        kept = (kept + piece)[:MAX_REPORT_BYTES]
    return kept.decode(errors="replace")


def _failure(code: object, limits: DecodeLimits) -> MeetingAssistantError:
    if code == "too_long":
        hours = limits.max_duration_s / 3600
        return TooLargeError(
            f"The recording is longer than {hours:g} hours.", "Cut it, or raise MAX_MEETING_HOURS."
        )
    message, remedy = _REASONS.get(str(code), _REASONS["not_audio"])
    return AudioFormatError(message, remedy, code=str(code) if code in _REASONS else "not_audio")
