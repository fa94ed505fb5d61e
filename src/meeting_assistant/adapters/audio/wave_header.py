"""The header of WAV, RF64, RIFX and AIFF files, and what of it is true.

Many headers state a wrong length of the sound: 0 or the largest number while a program still records, that of the first
minute when it crashed later, that of a file which was cut. The sound is then read to the end of the file.

FFmpeg takes the samples of RIFX, which is WAV with the high byte first, for those of WAV; it gets the header of an AU
file instead.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

ReadAt = Callable[[int, int], bytes]
"""Return up to so many bytes (second) from a position (first), fewer only at the end of the file."""

WAVE_START = re.compile(rb"(?:RIFF|RIFX|RF64|BW64).{4}WAVE|FORM.{4}AIF[FC]", re.DOTALL)
PLACEHOLDER_FROM = 0x7FF00000
"""Lengths from here on were written by programs that did not know the length."""
_PCM, _FLOAT, _A_LAW, _MU_LAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_AU_ENCODINGS = {
    (_PCM, 16): 3,
    (_PCM, 24): 4,
    (_PCM, 32): 5,
    (_FLOAT, 32): 6,
    (_FLOAT, 64): 7,
    (_MU_LAW, 8): 1,
    (_A_LAW, 8): 27,
}
"""Format and bits of WAV to the encoding of AU, whose samples have the high byte first."""
_MAX_HEADER_BYTES = 1 << 20
_MAX_CHUNKS = 10_000


@dataclass(frozen=True, slots=True)
class WaveHeader:
    """The header of one recording, and where its sound lies."""

    head: bytes
    """All of it before the length of the sound."""
    is_big_endian: bool
    sound_start: int
    stated_bytes: int
    """The stated length of the sound; 0 when it is a placeholder."""
    stated_end: int | None
    """Where the sound ends; None when the stated length cannot be true."""
    tail: bytes = b""
    """What follows the length of the sound."""

    def with_length(self, length: int) -> bytes:
        """Return the header with another length of the sound."""
        stated = min(length, 0xFFFFFFFF).to_bytes(4, "big" if self.is_big_endian else "little")
        return self.head + stated + self.tail


def read_wave_header(read_at: ReadAt, start: int, size: int) -> WaveHeader | None:
    """Read the header that begins at `start` of a file of `size` bytes; None when there is no sound after it.

    Raises ValueError for a RIFX file whose samples are of a kind that cannot be read.
    """
    magic = read_at(start, 12)
    if not WAVE_START.match(magic):
        return None
    chunks = _Chunks(read_at, magic[:4], start, size)
    position = chunks.find_sound()
    if position is None:
        return None
    length = chunks.length_at(position)
    if chunks.long_length is not None and magic[:4] in (b"RF64", b"BW64"):
        length = chunks.long_length
    sound_start = position + 8
    is_placeholder = length == 0 or PLACEHOLDER_FROM <= length <= 0xFFFFFFFF or length >= 1 << 62
    stated_end: int | None = sound_start + length
    if is_placeholder or sound_start + length > size or not chunks.lead_to_the_end(sound_start + length):
        stated_end = None
    head, tail, is_big_endian = chunks.head_before(position), b"", magic[:4] == b"FORM"
    if magic[:4] == b"RIFX":
        head, tail, is_big_endian = _replace_rifx(chunks.format)
    return WaveHeader(
        head=head,
        is_big_endian=is_big_endian,
        sound_start=sound_start,
        stated_bytes=0 if is_placeholder else length,
        stated_end=stated_end,
        tail=tail,
    )


def _replace_rifx(form: bytes) -> tuple[bytes, bytes, bool]:
    """Return the beginning and the end of a header that FFmpeg understands, and whether it is big-endian.

    `form` is the chunk `fmt ` of a RIFX file. Raises ValueError when there is none for its samples.
    """
    if len(form) < 24:
        raise ValueError("a RIFX file without a format")
    kind, channels, rate, _, _, bits = struct.unpack(">HHIIHH", form[8:24])
    if kind == _EXTENSIBLE and len(form) >= 36:
        kind = form[32] | form[35]  # the first byte of an identifier whose byte order programs disagree on
    if (kind, bits) == (_PCM, 8):  # one byte has no order
        fields = struct.pack("<HHIIHH", _PCM, channels, rate, rate * channels, channels, 8)
        return b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<I", 16) + fields + b"data", b"", False
    if (kind, bits) not in _AU_ENCODINGS:
        raise ValueError("a RIFX file with samples of another kind")
    return (
        b".snd" + struct.pack(">I", 24),
        struct.pack(">III", _AU_ENCODINGS[kind, bits], rate, channels),
        True,
    )


class _Chunks:
    """Walks over the chunks of one recording."""

    def __init__(self, read_at: ReadAt, magic: bytes, start: int, size: int) -> None:
        self._read_at = read_at
        self._is_aiff = magic == b"FORM"
        self._byte_order: Literal["big", "little"] = "big" if magic in (b"FORM", b"RIFX") else "little"
        self._sound_name = b"SSND" if self._is_aiff else b"data"
        self._start = start
        self._size = size
        self.format = b""
        """The chunk `fmt `."""
        self._is_regular = True
        self.long_length: int | None = None
        """Length of the sound in a `ds64` chunk."""

    def length_at(self, position: int) -> int:
        return self._number(self._read_at(position + 4, 4))

    def find_sound(self) -> int | None:
        """Return where the chunk with the sound begins."""
        position = self._start + 12
        for _ in range(_MAX_CHUNKS):
            head = self._read_at(position, 8)
            if len(head) < 8 or not _is_name(head[:4]):
                return self._search()
            name, length = head[:4], self._number(head[4:])
            if name == self._sound_name:
                return position
            if name == b"fmt ":
                self.format = self._read_at(position, 8 + min(length, 4096))
            elif name == b"ds64":
                self.long_length = int.from_bytes(self._read_at(position + 16, 8), "little")
            position = self._after(position, length)
        return None

    def _after(self, position: int, length: int) -> int:
        """Return the next chunk; some programs leave out the byte that makes the length even."""
        following = position + 8 + length
        if length % 2 and not _is_name(self._read_at(following + 1, 4)) and following + 1 < self._size:
            self._is_regular = False
            return following
        return following + length % 2

    def _search(self) -> int | None:
        """Find the sound where the lengths of the chunks before it are wrong."""
        self._is_regular = False
        block = self._read_at(self._start, _MAX_HEADER_BYTES)
        form = block.find(b"fmt ", 12)
        if form >= 0:
            self.format = block[form : form + 8 + min(self._number(block[form + 4 : form + 8]), 40)]
        found = block.find(self._sound_name, max(12, form))
        return self._start + found if found >= 0 else None

    def head_before(self, position: int) -> bytes:
        """Return the header up to the length of the sound; RF64 becomes RIFF, whose length is not believed anyway."""
        before = position - self._start
        if not self._is_aiff and (not self._is_regular or before > _MAX_HEADER_BYTES):
            return b"RIFF\xff\xff\xff\xffWAVE" + self.format + self._sound_name
        head = self._read_at(self._start, before)
        magic = b"RIFF" if head[:4] in (b"RF64", b"BW64") else head[:4]
        return magic + head[4:] + self._sound_name

    def _number(self, field: bytes) -> int:
        return int.from_bytes(field, self._byte_order)

    def lead_to_the_end(self, position: int) -> bool:
        """Return whether chunks from `position` on fill the file to its end, or to another recording."""
        for _ in range(_MAX_CHUNKS):
            if self._size - position < 8:
                return True
            head = self._read_at(position, 13)
            if WAVE_START.match(head) or WAVE_START.match(head[1:]):
                return True
            if not _is_name(head[:4]) and _is_name(head[1:5]):  # after the byte that makes a length even
                position, head = position + 1, head[1:]
            if not _is_name(head[:4]):
                return False
            length = self._number(head[4:8])
            position += 8 + length
            if position > self._size + 1:
                return False
        return False


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and all(32 <= byte < 127 for byte in name)
