"""Media files for tests: a known signal in any container, whole, joined, damaged, with times of its own.

Every second of the signal has a tone of its own, so that a decoded file shows which second is heard when, without a
speech engine.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import av
import numpy as np
from numpy.typing import NDArray

from meeting_assistant.adapters.audio.file_sound import FileSound, Unread

RATE = 16_000
FORMATS = {
    "wav": ("wav", "pcm_s16le"),
    "mp3": ("mp3", "libmp3lame"),
    "aac": ("adts", "aac"),
    "m4a": ("ipod", "aac"),
    "mp4": ("mp4", "aac"),
    "mkv": ("matroska", "aac"),
    "webm": ("webm", "libopus"),
    "opus": ("ogg", "libopus"),
    "ogg": ("ogg", "flac"),
    "flac": ("flac", "flac"),
    "ts": ("mpegts", "aac"),
    "mpg.ts": ("mpegts", "mp2"),
}
"""Suffix to muxer and encoder."""

FRAGMENTED = "fragmented mp4"

Sound = NDArray[np.float32]
"""Shape `(channels, n)`, -1 to 1."""


@dataclass(frozen=True, slots=True)
class MediaTrack:
    """One audio track of a file."""

    sound: Sound
    rate_hz: int = RATE
    start_s: float = 0.0
    """When it begins on the clock of the container."""
    jumps: Sequence[tuple[float, float]] = field(default=())
    """From this second of the sound on (first), the clock is so many seconds ahead (second)."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What was read of a file."""

    pcm: NDArray[np.int16]
    unread: list[Unread]

    @property
    def seconds(self) -> list[int | None]:
        """For each second, which second of the signal is in its middle; None for silence."""
        return [_heard(self.pcm[at + 4000 : at + 12_000]) for at in range(0, len(self.pcm) - 12_000, RATE)]

    @property
    def gaps(self) -> list[tuple[float, float, str]]:
        """What could not be read: start and end in seconds, and the reason."""
        return [(gap.start / RATE, gap.end / RATE, gap.reason) for gap in self.unread]


def tones(seconds: Sequence[int], rate_hz: int = RATE) -> Sound:
    """Return the signal: one second of a tone for each number, mono."""
    time = np.arange(rate_hz) / rate_hz
    signal = [0.4 * np.sin(2 * np.pi * _hz(second) * time) for second in seconds]
    return np.concatenate(signal)[None].astype(np.float32)


def silence(seconds: float, rate_hz: int = RATE) -> Sound:
    """Return digital silence, mono."""
    return np.zeros((1, int(seconds * rate_hz)), np.float32)


def read_media(raw: bytes, *, max_s: float = 3600.0) -> Decoded:
    """Decode a file as the child process does. Raises what that reports."""
    sound = FileSound(io.BytesIO(raw), max_s)
    pieces = list(sound.read())
    return Decoded(np.concatenate(pieces), sound.unread)


def encode(suffix: str, *tracks: MediaTrack, picture_s: float = 0.0) -> bytes:
    """Return a file of one of `FORMATS`, or `FRAGMENTED`, with these tracks, and a picture that lasts so long."""
    muxer, codec = FORMATS["mp4" if suffix == FRAGMENTED else suffix]
    target = io.BytesIO()
    options = {"cluster_time_limit": "1000"} if suffix in ("mkv", "webm") else {}
    if suffix == FRAGMENTED:
        options = {"movflags": "empty_moov+default_base_moof", "frag_duration": "1000000"}
    with av.open(target, "w", format=muxer, options=options) as container:
        packets: list[Any] = []
        for track in tracks:
            packets += _packets(container, codec, track)
        if picture_s:
            packets += _picture(container, picture_s)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return target.getvalue()


def _packets(container: Any, codec: str, track: MediaTrack) -> list[Any]:
    layout = "mono" if len(track.sound) == 1 else "stereo"
    rate = 48_000 if codec == "libopus" else track.rate_hz
    stream = container.add_stream(codec, rate=rate, layout=layout)
    packets: list[Any] = []
    for at in range(0, track.sound.shape[1], 1024):
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(track.sound[:, at : at + 1024]), format="fltp", layout=layout
        )
        frame.sample_rate, frame.pts = track.rate_hz, at
        packets += stream.encode(frame)
    packets += stream.encode(None)
    for packet in packets:
        at_s = float(packet.pts * packet.time_base)
        ahead = track.start_s + sum(by for since, by in track.jumps if at_s >= since - 0.01)
        shift = round(ahead / packet.time_base)
        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
    return packets


def _picture(container: Any, seconds: float) -> list[Any]:
    stream = container.add_stream("mpeg4", rate=5)
    stream.width = stream.height = 32
    stream.pix_fmt = "yuv420p"
    packets: list[Any] = []
    for number in range(int(seconds * 5)):
        frame = av.VideoFrame.from_ndarray(np.zeros((48, 32), np.uint8), format="yuv420p")
        frame.pts = number
        packets += stream.encode(frame)
    return packets + list(stream.encode(None))


# --- by hand ----------------------------------------------------------------------------------------------


def wave(
    sound: Sound,
    *,
    magic: Literal["RIFF", "RF64"] = "RIFF",
    stated: int | None = None,
    before: bytes = b"",
    after: bytes = b"",
    stated_long: int | None = None,
    rate_hz: int = RATE,
) -> bytes:
    """Return a WAV file of 16 bits with a header written by hand.

    `stated` is the length in the data chunk and `stated_long` that in `ds64`; `before` and `after` are chunks around
    the data.
    """
    data = np.clip(sound.T * 32768, -32768, 32767).astype("<i2").tobytes()
    channels = len(sound)
    form = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * 2 * channels, 2 * channels, 16)
    length = len(data) if stated is None else stated
    chunks = b"WAVE"
    if magic == "RF64":
        long = len(data) if stated_long is None else stated_long
        chunks += b"ds64" + struct.pack("<IQQQI", 28, 0, long, long // 2, 0)
        length = 0xFFFFFFFF if stated is None else stated
    chunks += before + b"fmt " + struct.pack("<I", 16) + form
    chunks += b"data" + struct.pack("<I", length) + data + after
    total = 0xFFFFFFFF if magic == "RF64" else min(len(chunks), 0xFFFFFFFF)
    return magic.encode() + struct.pack("<I", total) + chunks


def chunk(name: str, content: bytes) -> bytes:
    """Return a chunk of a WAV file."""
    return name.encode() + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def overwrite(raw: bytes, start: float, end: float, seed: int = 1) -> bytes:
    """Return the file with noise in place of the bytes between two parts of its length."""
    first, last = int(len(raw) * start), int(len(raw) * end)
    noise = np.random.default_rng(seed).integers(0, 256, last - first, np.uint8).tobytes()
    return raw[:first] + noise + raw[last:]


def _hz(second: int) -> float:
    return 300.0 + 130.0 * second


def _heard(block: NDArray[np.int16]) -> int | None:
    if np.abs(block).max(initial=0) < 300:
        return None
    spectrum = np.abs(np.fft.rfft(block * np.hanning(len(block))))
    return round((float(spectrum.argmax()) * RATE / len(block) - _hz(0)) / 130.0)
