"""Frames of MP3 and ADTS files, which have no clock: what is lost between two of them is told by where they lie.

FFmpeg steps over bytes that it does not understand, and the time that they stood for is lost. `find_frames` finds the
frames and how much lies between them. Headers are those of ISO/IEC 11172-3, 13818-3 and 13818-7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from meeting_assistant.adapters.audio.file_parts import PartFile

FORMATS = ("mp3", "aac")
"""FFmpeg's names of the formats; their time stamps are counted by FFmpeg, and wrong where the sample rate changes."""
_WINDOW_BYTES = 1 << 18
_DECODER_DELAY = 529
"""In samples (LAME technical FAQ)."""
_MAX_FRAME_BYTES = 8192
_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICS", b"3DI")
_MPEG_RATES = (44_100, 48_000, 32_000)
_MPEG_1_KBITS = {
    1: (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    2: (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_MPEG_2_KBITS = {
    1: (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    3: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_DESCRIPTIONS = (b"Xing", b"Info", b"VBRI")
_ADTS_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)


@dataclass(frozen=True, slots=True)
class RawFrame:
    """One frame of sound."""

    position: int
    length: int
    duration_s: float
    skipped_bytes: int
    """Bytes before it that belong to no frame and to no tag."""


@dataclass(frozen=True, slots=True)
class _Header:
    length: int
    duration_s: float
    kind: tuple[int, ...]
    """What two frames of one stream have in common."""


_Parse = Callable[[bytes, int], _Header | None]


def is_damaged(file: PartFile, codec: str) -> bool:
    """Return whether something lies between the frames of an MP3 or ADTS file."""
    return any(frame.skipped_bytes for frame in find_frames(file, codec))


@dataclass(frozen=True, slots=True)
class Mp3Info:
    """What the first frame of an MP3 file says of the others (Xing, LAME, VBRI); it has no sound itself."""

    duration_s: float | None
    delay_s: float
    """Silence that the encoder and the decoder put before the sound."""


def is_description(frame: bytes) -> bool:
    """Return whether a frame only describes the file that begins with it; in joined files there are several.

    FFmpeg's parser may leave a tag before it.
    """
    return frame.startswith(_TAGS) or any(name in frame[:64] for name in _DESCRIPTIONS)


def read_mp3_info(file: PartFile) -> Mp3Info | None:
    """Return the description in the first frame, or None when there is none."""
    first = next(find_frames(file, "mp3"), None)
    if first is None:
        return None
    frame = file.peek(first.position, first.length)
    at = next((at for name in _DESCRIPTIONS if (at := frame.find(name, 0, 64)) >= 0), None)
    if at is None:
        return None
    is_vbri = frame[at : at + 4] == b"VBRI"
    count_at = at + (14 if is_vbri else 8)
    count = int.from_bytes(frame[count_at : count_at + 4], "big")
    if not is_vbri and not frame[at + 7 : at + 8][-1:] >= b"\x01":
        count = 0
    delay = int.from_bytes(frame[at + 141 : at + 144], "big") >> 12
    samples = _mpeg_samples(frame)
    delay_s = (delay + _DECODER_DELAY) * first.duration_s / samples if delay else 0.0
    return Mp3Info(count * first.duration_s if count else None, delay_s)


def _mpeg_samples(frame: bytes) -> int:
    return 1152 if frame[1] >> 3 & 3 == 3 else 576


def find_frames(file: PartFile, codec: str) -> Iterator[RawFrame]:
    """Yield the frames of a file; `codec` is `aac`, or one of MPEG audio."""
    parse = _adts_header if codec == "aac" else _mpeg_header
    window = _Window(file)
    position, skipped, before = _first_frame(window, parse), 0, None
    while position is not None and position < file.size:
        header = parse(*window.at(position))
        is_frame = header is not None and (header.kind == before or _is_followed(window, parse, position, 1))
        if header is not None and is_frame:
            if position + header.length > file.size:
                return  # the file was cut
            yield RawFrame(position, header.length, header.duration_s, skipped)
            before, skipped = header.kind, 0
            position += header.length
            continue
        tag = _tag_length(window, position)
        if tag:
            position += tag
            continue
        following = _next_frame(window, parse, position + 1)
        if following is None:
            return
        skipped += following - position
        position = following


class _Window:
    """A part of the file in memory."""

    def __init__(self, file: PartFile) -> None:
        self.size = file.size
        self._file = file
        self._start = 0
        self._bytes = b""

    def at(self, position: int, length: int = _MAX_FRAME_BYTES) -> tuple[bytes, int]:
        """Return bytes and the index in them of a position, with `length` bytes after it where the file has them."""
        end = min(position + length, self.size)
        if not self._start <= position or end > self._start + len(self._bytes):
            self._start = position
            self._bytes = self._file.peek(position, _WINDOW_BYTES)
        return self._bytes, position - self._start


def _first_frame(window: _Window, parse: _Parse) -> int | None:
    position = 0
    while tag := _tag_length(window, position):
        position += tag
    return _next_frame(window, parse, position)


def _next_frame(window: _Window, parse: _Parse, position: int) -> int | None:
    """Return where the next frame begins that others follow."""
    while position < window.size:
        found, index = window.at(position)
        at = found.find(b"\xff", index)
        if at < 0:
            position += len(found) - index
            continue
        position += at - index
        if parse(found, at) is not None and _is_followed(window, parse, position, 2):
            return position
        position += 1
    return None


def _is_followed(window: _Window, parse: _Parse, position: int, count: int) -> bool:
    """Return whether the frame at the position is followed by others, or by the end of the file."""
    for _ in range(count):
        header = parse(*window.at(position))
        if header is None:
            return False
        position += header.length
        if position >= window.size or _tag_length(window, position):
            return True
    return parse(*window.at(position)) is not None


def _tag_length(window: _Window, position: int) -> int:
    """Return the length of the tag at a position: a name, a comment, a picture; 0 when there is none."""
    found, index = window.at(position)
    head = found[index : index + 32]
    if not head.startswith(_TAGS):
        return 0
    if head.startswith(b"ID3") and len(head) >= 10:
        size = 0
        for byte in head[6:10]:
            size = size << 7 | byte & 0x7F
        return 10 + size
    if head.startswith(b"APETAGEX") and len(head) >= 32:
        return 32 + int.from_bytes(head[12:16], "little")
    return 128 if head.startswith(b"TAG") else len(head)


def _mpeg_header(found: bytes, at: int) -> _Header | None:
    head = found[at : at + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bitrate, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return None
    kbits = (_MPEG_1_KBITS if version == 3 else _MPEG_2_KBITS)[layer][bitrate - 1]
    hz = _MPEG_RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
    slot_bytes = 4 if layer == 1 else 1
    length = (samples // 8 * 1000 * kbits // hz // slot_bytes + padding) * slot_bytes
    return _Header(length, samples / hz, (version, layer, rate))


def _adts_header(found: bytes, at: int) -> _Header | None:
    head = found[at : at + 7]
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return None
    rate = head[2] >> 2 & 15
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    if rate >= len(_ADTS_RATES) or length < 8:
        return None
    samples = 1024 * ((head[6] & 3) + 1)
    return _Header(length, samples / _ADTS_RATES[rate], (head[2] >> 6, rate))
