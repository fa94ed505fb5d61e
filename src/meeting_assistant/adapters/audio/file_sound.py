"""All the sound of an uploaded file as canonical PCM, and what of it could not be read. Runs in the child process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import av
import numpy as np

from meeting_assistant.adapters.audio.audio_track import AudioTrack, Hole, decodable_tracks, open_container
from meeting_assistant.adapters.audio.date_tags import date_tags
from meeting_assistant.adapters.audio.downmix import Downmix
from meeting_assistant.adapters.audio.file_parts import Part, PartFile, split_file
from meeting_assistant.adapters.audio.to_mono import SAMPLE_RATE_HZ, Pcm, to_pcm

END_TOLERANCE_S = 0.5
"""Containers round their duration; encoders add a frame."""
MAX_GAPS = 500
"""More stretches than this are one with the last."""

DAMAGED, MISSING, CUT = "damaged_audio", "missing_audio", "file_ends_early"


class NotSoundError(Exception):
    """The file cannot be decoded; the message is the code for the parent."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A stretch of the recording whose sound is not in the result, in samples at 16 kHz; silence stands for it."""

    start: int
    end: int
    reason: str
    """`damaged_audio`, `missing_audio` (the file has no sound there), `file_ends_early` (before its own duration)."""


class FileSound:
    """Reads the sound of all parts of a file, all tracks mixed."""

    def __init__(self, source: BinaryIO, max_seconds: float) -> None:
        """`max_seconds` is the longest recording that is read."""
        self._source = source
        self._parts = split_file(source)
        self._max_seconds = max_seconds
        self._position = 0
        self._faults = 0
        self.unread: list[Unread] = []
        """What was found so far, in order of time."""

    def describe(self) -> dict[str, Any]:
        """Return the format of the file, as a probe tells it. Raises NotSoundError, av.FFmpegError."""
        with open_container(PartFile(self._source, self._parts[0])) as container:
            if not container.streams.audio:
                raise NotSoundError("no_audio_stream")
            tracks = decodable_tracks(container)
            if not tracks:
                raise NotSoundError("not_audio")
            stream = container.streams.audio[tracks[0]]
            duration = None
            if stream.duration and stream.time_base:
                duration = float(stream.duration * stream.time_base)
            elif container.duration:
                duration = container.duration / 1_000_000
            is_known = duration is not None and 0 < duration < 1e7 and len(self._parts) == 1
            return {
                "container": container.format.name,
                "codec": stream.codec_context.name,
                "duration_s": duration if is_known else None,
                "sample_rate_hz": stream.codec_context.sample_rate or 0,
                "channels": stream.codec_context.channels or 0,
                "date_tags": date_tags(container, stream),
            }

    def read(self) -> Iterator[Pcm]:
        """Yield the sound from the beginning on. Raises NotSoundError, av.FFmpegError."""
        has_sound = False
        for part in self._parts:
            for pcm in self._read_part(part):
                has_sound = True
                yield self._within_limit(pcm)
        if not has_sound:
            raise NotSoundError("too_damaged" if self._faults else "no_sound")

    def prove(self) -> None:
        """Decode a little: a valid header proves nothing. Raises NotSoundError, av.FFmpegError."""
        for pcm in self.read():
            if len(pcm):
                return

    def _within_limit(self, pcm: Pcm) -> Pcm:
        if self._position + len(pcm) > self._max_seconds * SAMPLE_RATE_HZ:
            raise NotSoundError("too_long")
        self._position += len(pcm)
        return pcm

    def _read_part(self, part: Part) -> Iterator[Pcm]:
        tracks = self._open(part)
        start = self._position
        try:
            if len(tracks) == 1:
                yield from (pcm for pcm in tracks[0].sound() if len(pcm))
            elif tracks:
                yield from _mixed(tracks)
        finally:
            self._faults += sum(track.faults for track in tracks)
            for hole in _common(tracks):
                self._report(start + hole.start, start + hole.end, DAMAGED if hole.is_damaged else MISSING)
        if any(track.has_unread_fragments for track in tracks):
            self._report(self._position, self._position, DAMAGED)
        stated = [track.stated_end for track in tracks if track.stated_end is not None]
        if part is self._parts[-1] and stated:
            end_s = max(max(stated), *(track.end_s for track in tracks))
            read_s = max(track.end_s for track in tracks)
            if end_s - read_s > END_TOLERANCE_S:
                self._report(
                    start + round(read_s * SAMPLE_RATE_HZ), start + round(end_s * SAMPLE_RATE_HZ), CUT
                )

    def _open(self, part: Part) -> list[AudioTrack]:
        """Open every track of a part. A part after the first that cannot be opened is reported, and left out."""
        is_first = part is self._parts[0]
        latest = self._max_seconds - self._position / SAMPLE_RATE_HZ
        tracks: list[AudioTrack] = []
        try:
            with open_container(PartFile(self._source, part)) as container:
                indices = decodable_tracks(container)
            for index in indices:
                file = PartFile(self._source, part)
                tracks.append(AudioTrack(file, index, is_first_part=is_first, latest_s=latest))
        except (av.FFmpegError, ValueError):
            if is_first and len(self._parts) == 1:
                raise
            self._report(self._position, self._position, DAMAGED)
        if not tracks and len(self._parts) == 1:
            raise NotSoundError("no_audio_stream")
        return tracks

    def _report(self, start: int, end: int, reason: str) -> None:
        last = self.unread[-1] if self.unread else None
        is_near = last is not None and start - last.end < SAMPLE_RATE_HZ // 2 and reason == last.reason
        if last is not None and (is_near or len(self.unread) >= MAX_GAPS):
            self.unread[-1] = Unread(last.start, max(last.end, end), last.reason)
        else:
            self.unread.append(Unread(start, end, reason))


def _mixed(tracks: list[AudioTrack]) -> Iterator[Pcm]:
    """Yield the mix of all tracks; those that end earlier are silent from there on."""
    downmix = Downmix(len(tracks))
    takers = [_Blocks(track.sound()) for track in tracks]
    while True:
        blocks = [taker.take(SAMPLE_RATE_HZ) for taker in takers]
        length = max(map(len, blocks))
        if length == 0:
            break
        sound = np.zeros((len(blocks), length), np.float32)
        for row, block in zip(sound, blocks, strict=True):
            row[: len(block)] = block / np.float32(32768.0)
        yield to_pcm(downmix.feed(sound))
    yield to_pcm(downmix.flush())


class _Blocks:
    """Cuts a stream of samples into blocks of the same length."""

    def __init__(self, sound: Iterator[Pcm]) -> None:
        self._sound = sound
        self._rest: Pcm = np.zeros(0, np.int16)

    def take(self, length: int) -> Pcm:
        """Return so many samples, fewer only at the end."""
        pieces, have = [self._rest], len(self._rest)
        while have < length and (piece := next(self._sound, None)) is not None:
            pieces.append(piece)
            have += len(piece)
        joined = np.concatenate(pieces)
        self._rest = joined[length:]
        return joined[:length]


def _common(tracks: list[AudioTrack]) -> list[Hole]:
    """Return the holes of a part: damage in any track, and where no track has sound."""
    damaged = [hole for track in tracks for hole in track.holes if hole.is_damaged]
    silent: list[Hole] | None = None
    for track in tracks:
        holes = [hole for hole in track.holes if not hole.is_damaged]
        holes.append(Hole(round(track.end_s * SAMPLE_RATE_HZ), 1 << 62, is_damaged=False))
        silent = holes if silent is None else _intersected(silent, holes)
    ends = [hole for hole in silent or [] if hole.end < 1 << 62]
    return sorted([*damaged, *ends], key=lambda hole: hole.start)


def _intersected(first: list[Hole], second: list[Hole]) -> list[Hole]:
    return [
        Hole(max(a.start, b.start), min(a.end, b.end), is_damaged=False)
        for a in first
        for b in second
        if max(a.start, b.start) < min(a.end, b.end)
    ]
