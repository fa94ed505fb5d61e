"""The parts of an uploaded file: complete recordings, one after the other, each with a header that states its length.

Programs join recordings by appending files (chained Ogg, `cat a.webm b.webm`), and write the length of a WAV file
before they know it. FFmpeg reads the first of the joined recordings, and as much of it as its header promises.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from meeting_assistant.adapters.audio.transport_stream import find_changes, is_transport_stream
from meeting_assistant.adapters.audio.wave_header import WAVE_START, read_wave_header

_SCAN_BYTES = 1 << 20
_OVERLAP_BYTES = 64
_JOINTS = {
    b"fLaC": re.compile(rb"fLaC[\x00\x80]\x00\x00\x22", re.DOTALL),
    b"#!AMR": re.compile(rb"#!AMR(-WB)?\n"),
    b"\x1a\x45\xdf\xa3": re.compile(rb"\x1a\x45\xdf\xa3.{0,40}?\x42\x82[\x84\x88](webm|matroska)", re.DOTALL),
    b"OggS": re.compile(rb"OggS\x00[\x02\x03\x06\x07]", re.DOTALL),
}
"""What a recording in a container begins with: the first bytes, and the pattern that is looked for further on."""


@dataclass(frozen=True, slots=True)
class Part:
    """One recording in the file: `header`, then the bytes of the file from `start` to `end`."""

    header: bytes
    start: int
    end: int
    missing_bytes: int = 0
    """How many bytes of sound the original header stated beyond the end of the file."""


class PartFile(io.RawIOBase):
    """One part as a file of its own, to read and to seek; several may read the same source in turn."""

    def __init__(self, source: BinaryIO, part: Part) -> None:
        self.part = part
        self.size = len(part.header) + part.end - part.start
        self._source = source
        self._position = 0

    def peek(self, position: int, length: int) -> bytes:
        """Return up to `length` bytes from `position`, fewer only at the end; the position for `read` stays."""
        header = self.part.header[position : position + length]
        offset = self.part.start + max(0, position - len(self.part.header))
        rest = max(0, min(length - len(header), self.part.end - offset))
        return header + (read_at(self._source, offset, rest) if rest else b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer from the position on, and return how many bytes it got; 0 at the end."""
        piece = self.peek(self._position, len(buffer))
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position, counted as `whence` says, and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, base + offset)
        return self._position


def split_file(source: BinaryIO) -> list[Part]:
    """Return the parts of a file in their order; a file of an unknown kind is one part."""
    size = source.seek(0, io.SEEK_END)
    head = read_at(source, 0, 12)

    def read(position: int, length: int) -> bytes:
        return read_at(source, position, length)

    if WAVE_START.match(head):
        return _wave_parts(source, size) or [Part(b"", 0, size)]
    if head[4:8] == b"ftyp":
        starts = _box_starts(source, size)
    elif is_transport_stream(read):
        starts = [0, *find_changes(read, size)]
    else:
        starts = [0]
        for first, pattern in _JOINTS.items():
            if head.startswith(first):
                found = _find_all(source, first, pattern, 0, size)
                starts = list(_chain_starts(source, found) if first == b"OggS" else found)
    if not starts or starts[0] != 0:
        starts = [0, *starts]
    return [Part(b"", start, end) for start, end in zip(starts, [*starts[1:], size], strict=True)]


def read_at(source: BinaryIO, position: int, length: int) -> bytes:
    """Return up to `length` bytes of the file from `position`, fewer only at its end."""
    source.seek(position)
    pieces: list[bytes] = []
    while length > 0 and (piece := source.read(length)):
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)


def _find_all(
    source: BinaryIO, first: bytes, pattern: re.Pattern[bytes], position: int, size: int
) -> Iterator[int]:
    """Yield where the pattern occurs, which begins with the bytes `first`."""
    while position < size:
        block = read_at(source, position, _SCAN_BYTES + _OVERLAP_BYTES)
        at = block.find(first)
        while 0 <= at < _SCAN_BYTES:
            if pattern.match(block, at):
                yield position + at
            at = block.find(first, at + 1)
        position += _SCAN_BYTES


def _chain_starts(source: BinaryIO, found: Iterator[int]) -> Iterator[int]:
    """Yield where a link of chained Ogg begins: the first page of a stream, after none of its kind (RFC 3533)."""
    end_of_first_pages = -1
    for position in found:
        if position != end_of_first_pages:
            yield position
        head = read_at(source, position, 27 + 255)
        lacing = head[27 : 27 + head[26]] if len(head) > 26 else b""
        end_of_first_pages = position + 27 + len(lacing) + sum(lacing)


def _box_starts(source: BinaryIO, size: int) -> list[int]:
    """Return where a file in the ISO format (mp4, m4a, mov) begins: the top-level boxes `ftyp` (ISO/IEC 14496-12)."""
    starts: list[int] = []
    position = 0
    while position + 8 <= size:
        head = read_at(source, position, 16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if head[4:8] == b"ftyp":
            starts.append(position)
        if length < 8:  # to the end of the file, or damaged
            break
        position += length
    return starts


def is_cut_fragment(file: PartFile) -> bool:
    """Return whether a box from the first fragment (`moof`) of a file on is damaged, or longer than the file."""
    position, is_fragmented = 0, False
    while position + 8 <= file.size:
        head = file.peek(position, 16)
        length = int.from_bytes(head[8:16] if head[:4] == b"\0\0\0\1" else head[:4], "big")
        is_fragmented |= head[4:8] == b"moof"
        if length < 8 or position + length > file.size:
            return is_fragmented and length != 0
        position += length
    return False


def last_fragment(file: PartFile, track_id: int) -> int:
    """Return where the last fragment (`moof`) of a fragmented file begins that has sound of a track; -1 if none."""
    end = file.size
    while end > 0:
        start = max(0, end - _SCAN_BYTES)
        block = file.peek(start, end - start + _OVERLAP_BYTES)
        at = block.rfind(b"moof")
        while at >= 0:
            length = int.from_bytes(file.peek(start + at - 4, 4), "big") if start + at >= 4 else 0
            fragment = file.peek(start + at, length) if 8 < length <= _SCAN_BYTES else b""
            if any(int.from_bytes(head[4:8], "big") == track_id for head in fragment.split(b"tfhd")[1:]):
                return start + at - 4
            at = block.rfind(b"moof", 0, at)
        end = start
    return -1


def _wave_parts(source: BinaryIO, size: int) -> list[Part]:
    parts: list[Part] = []
    start: int | None = 0
    while start is not None:
        header = read_wave_header(lambda position, length: read_at(source, position, length), start, size)
        if header is None:
            break
        end = header.stated_end
        if end is None:  # the header lies: the sound goes on to the end, or to the next recording
            end = next(_find_waves(source, header.sound_start, size), size)
        missing = max(0, header.stated_bytes - (end - header.sound_start))
        head = header.with_length(end - header.sound_start)
        parts.append(Part(head, header.sound_start, end, missing_bytes=missing))
        start = next(_find_waves(source, end, size), None)
    return parts


def _find_waves(source: BinaryIO, position: int, size: int) -> Iterator[int]:
    for first in (b"RIFF", b"RIFX", b"RF64"):
        yield from _find_all(source, first, WAVE_START, position, size)
