"""The audio of a meeting as a WAV file, or a byte range of it, made while it is sent. Pure."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from meeting_assistant.domain.audio import BYTES_PER_SAMPLE, BYTES_PER_SECOND, SAMPLE_RATE_HZ
from meeting_assistant.domain.errors import RangeNotSatisfiableError

HEADER_BYTES = 44


@dataclass(frozen=True, slots=True)
class WavRange:
    """A response: part of the header, then a span of PCM."""

    status: int
    """200 for the whole file, 206 for a part."""
    header: bytes
    pcm_start: int
    pcm_end: int
    headers: dict[str, str]


def wav_header(pcm_bytes: int, channels: int = 1) -> bytes:
    """Return the RIFF header of canonical PCM; a length beyond 4 GiB is truncated, as players expect."""
    length = min(pcm_bytes, 0xFFFF_FFFF - HEADER_BYTES)
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", length + HEADER_BYTES - 8, b"WAVE",
        b"fmt ", 16, 1, channels, SAMPLE_RATE_HZ, BYTES_PER_SECOND * channels,
        BYTES_PER_SAMPLE * channels, 8 * BYTES_PER_SAMPLE,
        b"data", length,
    )  # fmt: skip


def wav_range(pcm_bytes: int, range_header: str | None, *, channels: int = 1) -> WavRange:
    """Return the response to a range request (RFC 9110, section 14; one range). Raises RangeNotSatisfiableError.

    A header that is not understood is ignored, as the RFC asks: the whole file is sent.
    """
    size = HEADER_BYTES + pcm_bytes
    start, end = _span(range_header, size) or (0, size)
    is_part = (start, end) != (0, size)
    headers = {"Accept-Ranges": "bytes", "Content-Length": str(end - start)}
    if is_part:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return WavRange(
        status=206 if is_part else 200,
        header=wav_header(pcm_bytes, channels)[start:end],
        pcm_start=max(0, start - HEADER_BYTES),
        pcm_end=max(0, end - HEADER_BYTES),
        headers=headers,
    )


def _span(range_header: str | None, size: int) -> tuple[int, int] | None:
    match = re.fullmatch(r"bytes=(\d{0,15})-(\d{0,15})", range_header or "")
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size
    start = int(first)
    end = min(size, int(last) + 1) if last else size
    if start >= size:
        raise RangeNotSatisfiableError(f"The recording has {size} bytes.", "Ask for a range inside it.")
    return (start, end) if start < end else None
