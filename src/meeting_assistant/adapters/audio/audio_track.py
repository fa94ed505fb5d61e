"""One audio track of a file as mono at 16 kHz, on the clock of its container. Runs in the child process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.stream import Discard

from meeting_assistant.adapters.audio import raw_frames
from meeting_assistant.adapters.audio.container_clock import TOLERANCE_S, ContainerClock, Placed
from meeting_assistant.adapters.audio.file_parts import PartFile, is_cut_fragment, last_fragment
from meeting_assistant.adapters.audio.ogg_pages import with_times_of_pages
from meeting_assistant.adapters.audio.to_mono import SAMPLE_RATE_HZ, MonoResampler, Pcm
from meeting_assistant.adapters.audio.transport_stream import PACKET_BYTES, Loss, find_losses

CONTAINERS = (
    "wav,w64,rf64,aiff,au,caf,flac,mp3,aac,ogg,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,amr,asf,avi,mpegts,mpeg,wv,ape,tta,"
    "ac3,eac3"
)
OPTIONS = {
    "format_whitelist": CONTAINERS,
    "protocol_whitelist": "pipe",
    "enable_drefs": "0",
    "use_absolute_path": "0",
}
CLOCKS_OF_THEIR_OWN = ("mpegts", "mpeg", "asf")
"""Containers whose clock may begin anywhere."""
CONTINUOUS = ("ogg", "flac")
"""Containers in which a jump of the clock is a loss."""
STREAMS_WITHOUT_PAUSE = ("mpegts", "mpeg")
"""Containers made for transmission, in which a jump of more than jitter is a loss."""
LATEST_START_S = 600.0
"""A recording that begins later on its clock was cut from a longer one: the clock begins with it."""
NAMED_FROM_S = 0.5
"""Shorter stretches without sound are usual, where silence is not encoded."""
SKIPPED_BYTES = 1024
"""So much between two blocks of Matroska was skipped by the demuxer, which says nothing of what it cannot read."""
MAX_FAULTS = 1000
"""How often in a row reading may fail before the rest is given up."""
SILENCE_SAMPLES = 60 * SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class Hole:
    """A stretch of one track without sound, in samples at 16 kHz from the start of its part."""

    start: int
    end: int
    is_damaged: bool
    """True when something was there and could not be read; False when the file has no sound there."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A decoded frame as it comes; times in seconds."""

    frame: Any
    time: float | None
    is_damaged: bool = False
    lost_s: float = 0.0


def open_container(file: PartFile) -> Any:
    """Open a part of a file. Raises av.FFmpegError."""
    return av.open(file, mode="r", options=OPTIONS, metadata_errors="ignore")


def decodable_tracks(container: Any) -> list[int]:
    """Return which of the audio tracks have a decoder."""
    return [
        number for number, stream in enumerate(container.streams.audio) if stream.codec_context is not None
    ]


class AudioTrack:
    """Reads one track of a part, from its beginning to its end, once."""

    def __init__(self, file: PartFile, index: int, *, is_first_part: bool, latest_s: float) -> None:
        """`index` counts audio tracks. Time stamps after `latest_s` are wrong. Raises av.FFmpegError."""
        self._file = file
        self._container = open_container(file)
        self._stream = self._container.streams.audio[index]
        self._stream.thread_type = "NONE"
        self._container_name: str = self._container.format.name
        self._track_id: int = self._stream.id
        self._watches_all = index == decodable_tracks(self._container)[0] and self._stream.duration is None
        if not self._watches_all:
            for other in self._container.streams:
                if other is not self._stream:
                    other.discard = Discard.all
        self._origin = self._find_origin(is_first_part)
        self.stated_end = self._find_stated_end()
        """Where the container says that its sound ends, in seconds; None when it does not say."""
        latest = latest_s if self.stated_end is None else min(latest_s, self.stated_end + 1.0)
        self._clock: ContainerClock[Any] = ContainerClock(latest)
        self._resampler: MonoResampler | None = None
        sees_all = self._watches_all or len(self._container.streams) == 1
        self._block_end: int | None = 0 if sees_all and "matroska" in self._container.format.name else None
        """Where in the file the newest block ends; None where other things may lie between blocks."""
        self._has_skipped_bytes = False
        is_transport = self._container.format.name == "mpegts"
        self._losses = find_losses(file.peek, file.size, self._stream.id) if is_transport else iter(())
        self._next_loss: Loss | None = next(self._losses, None)
        self._unit_s = 0.0
        """When the newest packet began whose place in the file is known."""
        self._lossy_units: list[tuple[float, float]] = []
        """Start and end of those in which packets of a transport stream are missing."""
        self._newest_position = 0
        self._written = 0
        self._lost_at_end_s = 0.0
        """How long the packets are together that could not be decoded, with no sound after them."""
        self._last_packet_s = 0.0
        self.holes: list[Hole] = []
        self.faults = 0
        """How many packets could not be decoded, or not be read."""

    @property
    def end_s(self) -> float:
        """How far the file was read, pictures included, in seconds."""
        return max(self._clock.end, self._last_packet_s)

    @property
    def has_unread_fragments(self) -> bool:
        """True when fragments of MP4 are damaged, or lie after the last packet: FFmpeg ends there in silence."""
        if "mp4" not in self._container_name.split(","):
            return False
        is_behind = last_fragment(self._file, self._track_id) > self._newest_position
        return is_behind or is_cut_fragment(self._file)

    def sound(self) -> Iterator[Pcm]:
        """Yield the sound from the start of the part on, without a gap: silence where the file has none."""
        for piece in self._pieces():
            duration = piece.frame.samples / piece.frame.sample_rate
            placed = self._clock.place(
                piece.time, duration, piece.frame, is_damaged=piece.is_damaged, lost_s=piece.lost_s
            )
            for item in placed:
                yield from self._write(item)
        for item in self._clock.finish():
            yield from self._write(item)
        yield from self._flush()
        if self._lost_at_end_s > TOLERANCE_S:
            yield from self._silence_until(self._clock.end + self._lost_at_end_s, is_damaged=True)
        self._mark_lossy_units()
        self._container.close()

    # --- times

    def _find_origin(self, is_first_part: bool) -> float:
        """Return where on the container's clock the recording begins."""
        start = (self._container.start_time or 0) / 1_000_000
        has_own_clock = self._container.format.name in CLOCKS_OF_THEIR_OWN
        if has_own_clock or not is_first_part or not -1.0 < start < LATEST_START_S:
            return start
        return 0.0

    def _find_stated_end(self) -> float | None:
        name = self._container.format.name
        stream = self._stream
        if name in ("mp3", "aac", "ac3", "eac3", "amr", *CLOCKS_OF_THEIR_OWN):
            info = raw_frames.read_mp3_info(self._file) if name == "mp3" else None
            return info.duration_s if info else None
        if stream.duration and stream.time_base:
            start = (stream.start_time or 0) * stream.time_base
            end = float(start + stream.duration * stream.time_base) - self._origin
        elif self._container.duration:
            end = self._container.duration / 1_000_000
        else:
            return None
        bits = stream.codec_context.bit_rate
        if self._file.part.missing_bytes and bits:
            end += self._file.part.missing_bytes * 8 / bits
        return end if 0 < end < 1e7 else None

    # --- frames

    def _pieces(self) -> Iterator[_Piece]:
        is_raw = self._container.format.name in raw_frames.FORMATS
        if is_raw and raw_frames.is_damaged(self._file, self._stream.codec_context.name):
            yield from self._raw_pieces()
            return
        is_damaged, lost_s = self._container.format.name in CONTINUOUS, 0.0
        packets = self._packets()
        for packet in with_times_of_pages(packets) if self._container.format.name == "ogg" else packets:
            frames = [] if packet is None else self._decode(packet)
            if packet is None or frames is None or packet.is_corrupt or self._follows_loss(packet):
                is_damaged = True
            if packet is not None and frames is None:
                self._lost_at_end_s += float((packet.duration or 0) * packet.time_base)
            if is_raw and frames is None:
                lost_s += float((packet.duration or 0) * packet.time_base)
            for frame in frames or []:
                if frame.samples > 0 and frame.sample_rate > 0:
                    time = None if is_raw or frame.pts is None else self._time_of(frame)
                    yield _Piece(frame, time, is_damaged, lost_s)
                    self._lost_at_end_s = 0.0
                    is_damaged, lost_s = self._container.format.name in CONTINUOUS, 0.0

    def _look_for_skipped_bytes(self, packet: Any) -> None:
        before, at = self._block_end, packet.pos
        if before is None or at is None or packet.size == 0:
            return
        self._block_end = max(at, before) + packet.size  # several packets may share a block
        self._has_skipped_bytes |= 0 < before < at - SKIPPED_BYTES

    def _follows_loss(self, packet: Any) -> bool:
        """Return whether bytes of the file were skipped, or packets of a transport stream are missing, before this."""
        is_lost, self._has_skipped_bytes = self._has_skipped_bytes, False
        if packet.pos is None or packet.pos < 0 or packet.pts is None:
            return is_lost
        start, self._unit_s = self._unit_s, self._time_of(packet)
        while self._next_loss is not None and self._next_loss.position < packet.pos + PACKET_BYTES:
            if self._next_loss.is_within_unit:
                self._lossy_units.append((start, self._unit_s))
            is_lost, self._next_loss = True, next(self._losses, None)
        return is_lost

    def _mark_lossy_units(self) -> None:
        """Name the losses that made no hole: other bytes were decoded in their place."""
        if self._next_loss is not None and self._next_loss.is_within_unit:
            self._lossy_units.append((self._unit_s, self.end_s))
        for start_s, end_s in self._lossy_units:
            start, end = round(max(0.0, start_s) * SAMPLE_RATE_HZ), round(end_s * SAMPLE_RATE_HZ)
            end = min(end, self._written)
            is_known = any(hole.start <= end and start <= hole.end for hole in self.holes)
            if start < end and not is_known:
                self.holes.append(Hole(start, end, is_damaged=True))
        self.holes.sort(key=lambda hole: hole.start)

    def _time_of(self, frame: Any) -> float:
        return float(frame.pts * frame.time_base) - self._origin

    def _packets(self) -> Iterator[Any]:
        """Yield the packets of the track, and None where reading failed."""
        faults = 0
        while faults < MAX_FAULTS:
            packets = self._container.demux() if self._watches_all else self._container.demux(self._stream)
            try:
                for packet in packets:
                    self._look_for_skipped_bytes(packet)
                    if packet.stream is self._stream:
                        faults = 0
                        self._newest_position = max(self._newest_position, packet.pos or 0)
                        yield packet
                    if packet.pts is not None:
                        end = float((packet.pts + (packet.duration or 0)) * packet.time_base) - self._origin
                        if self.stated_end is None or end <= self.stated_end:
                            self._last_packet_s = max(self._last_packet_s, end)
            except av.FFmpegError:
                faults += 1
                self.faults += 1
                yield None
            else:
                return

    def _raw_pieces(self) -> Iterator[_Piece]:
        codec = av.CodecContext.create(self._stream.codec_context.name, "r")
        codec.thread_type = "NONE"
        bytes_read, seconds, lost_s = 1, 0.0, 0.0
        info = raw_frames.read_mp3_info(self._file) if codec.name.startswith("mp") else None
        to_skip_s = info.delay_s if info else 0.0
        for number, raw in enumerate(raw_frames.find_frames(self._file, codec.name)):
            if number == 0 and info:
                continue
            bytes_read, seconds = bytes_read + raw.length, seconds + raw.duration_s
            if raw.skipped_bytes:
                lost_s += (
                    max(1, round(raw.skipped_bytes * seconds / bytes_read / raw.duration_s)) * raw.duration_s
                )
            frames = self._decode(av.Packet(self._file.peek(raw.position, raw.length)), codec)
            if frames is None:
                lost_s += raw.duration_s
            for frame in frames or []:
                if to_skip_s >= raw.duration_s / 2:
                    to_skip_s -= raw.duration_s
                elif frame.samples > 0 and frame.sample_rate > 0:
                    yield _Piece(frame, None, lost_s > 0, lost_s)
                    lost_s = 0.0
        for frame in self._decode(None, codec) or []:
            yield _Piece(frame, None, lost_s > 0, lost_s)
            lost_s = 0.0

    def _decode(self, packet: Any, codec: Any = None) -> list[Any] | None:
        """Return the frames of a packet, or None when it is damaged."""
        try:
            return list(packet.decode() if codec is None else codec.decode(packet))
        except av.FFmpegError:
            if raw_frames.is_description(bytes(packet)):
                return []
            self.faults += 1
            return None

    # --- samples

    def _write(self, placed: Placed[Any]) -> Iterator[Pcm]:
        if placed.start > placed.gap_start:
            yield from self._flush()
            is_late = placed.gap_start > 0
            is_loss = is_late and self._container.format.name in STREAMS_WITHOUT_PAUSE
            is_damaged = placed.is_damaged or is_loss
            is_pause = is_late and placed.start - placed.gap_start >= NAMED_FROM_S
            yield from self._silence_until(
                placed.start, is_damaged=is_damaged, is_named=is_damaged or is_pause
            )
        if self._resampler is None or not self._resampler.fits(placed.sound):
            yield from self._flush()
            self._resampler = MonoResampler(placed.sound)
        yield self._count(self._resampler.feed(placed.sound))

    def _silence_until(self, end_s: float, *, is_damaged: bool, is_named: bool = True) -> Iterator[Pcm]:
        start, end = self._written, max(self._written, round(end_s * SAMPLE_RATE_HZ))
        if is_named and end > start:
            self.holes.append(Hole(start, end, is_damaged))
        for at in range(start, end, SILENCE_SAMPLES):
            yield self._count(np.zeros(min(SILENCE_SAMPLES, end - at), np.int16))

    def _flush(self) -> Iterator[Pcm]:
        resampler, self._resampler = self._resampler, None
        if resampler is not None:
            yield self._count(resampler.flush())

    def _count(self, pcm: Pcm) -> Pcm:
        self._written += len(pcm)
        return pcm
