"""Media files with faults: every readable second is decoded at its time, and the rest is reported."""

from __future__ import annotations

import numpy as np
import pytest

from meeting_assistant.testing.harness.media import (
    FORMATS,
    RATE,
    MediaTrack,
    encode,
    overwrite,
    read_media,
    silence,
    tones,
    wave,
)

SIX = range(6)
WITH_CLOCK = ("m4a", "mp4", "mkv", "webm")
WITH_TRACKS = ("mp4", "mkv", "webm")


def stereo(sound: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.concatenate([sound, other])


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_intact_file_is_decoded_from_end_to_end(suffix: str) -> None:
    decoded = read_media(encode(suffix, MediaTrack(tones(SIX))))
    assert decoded.seconds == [*SIX]
    assert decoded.gaps == []
    assert len(decoded.pcm) / RATE == pytest.approx(6.0, abs=0.15)


@pytest.mark.parametrize("suffix", FORMATS)
def test_concatenated_files_of_any_formats_are_decoded_to_the_end(suffix: str) -> None:
    """Mono, then stereo at another rate: chained Ogg, `cat a.mp4 b.mp4`, a telephone call that changed its codec."""
    second = tones([3, 4, 5], 48_000)
    joined = encode(suffix, MediaTrack(tones([0, 1, 2]))) + encode(
        suffix, MediaTrack(stereo(second, second), rate_hz=48_000)
    )
    decoded = read_media(joined)
    assert decoded.seconds[:6] == [*SIX]
    assert decoded.gaps == []


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_damaged_stretch_moves_nothing_that_follows_and_is_marked(suffix: str) -> None:
    ten = range(10)
    raw = encode(suffix, MediaTrack(tones(ten)))
    decoded = read_media(overwrite(raw, 0.42, 0.48))
    assert decoded.seconds[:4] == [0, 1, 2, 3]
    assert decoded.seconds[-1] == 9
    assert len(decoded.pcm) / RATE == pytest.approx(10.0, abs=0.2)
    for second, heard in enumerate(decoded.seconds):
        is_marked = any(
            start - 0.3 <= second + 0.75 and second + 0.25 <= end + 0.3 for start, end, _ in decoded.gaps
        )
        assert heard == second or is_marked or suffix == "wav"


@pytest.mark.parametrize("suffix", ["webm", "mkv"])
def test_a_damaged_stretch_of_matroska_is_no_pause(suffix: str) -> None:
    """Its demuxer skips what it cannot read in silence; a file with damage is kept, one with pauses is not."""
    decoded = read_media(overwrite(encode(suffix, MediaTrack(tones(range(10)))), 0.4, 0.6))
    assert {reason for _, _, reason in decoded.gaps} == {"damaged_audio"}


@pytest.mark.parametrize("start", [0.3, 0.5])
def test_damage_in_a_video_with_audio_is_no_pause(start: float) -> None:
    raw = encode("mkv", MediaTrack(tones(range(10))), picture_s=10.0)
    decoded = read_media(raw[: int(len(raw) * start)] + bytes(9000) + raw[int(len(raw) * start) + 9000 :])
    assert {reason for _, _, reason in decoded.gaps} == {"damaged_audio"}
    paused = read_media(encode("mkv", MediaTrack(tones(SIX), jumps=[(3.0, 4.0)]), picture_s=10.0))
    assert {reason for _, _, reason in paused.gaps} == {"missing_audio"}


@pytest.mark.parametrize(("start", "end"), [(0.4, 0.6), (0.5, 0.52), (0.8, 0.9)])
def test_fragments_that_are_not_read_after_damage_are_marked(start: float, end: float) -> None:
    raw = encode("fragmented mp4", MediaTrack(tones(SIX)))
    assert read_media(raw).gaps == []
    decoded = read_media(overwrite(raw, start, end))
    assert decoded.gaps[-1][2] == "damaged_audio"


# --- MPEG transport streams ---------------------------------------------------------------------------------

TS_PACKET = 188
TS_SUFFIXES = ("ts", "mpg.ts")


@pytest.mark.parametrize("suffix", TS_SUFFIXES)
@pytest.mark.parametrize("picture_s", [0.0, 6.0])
@pytest.mark.parametrize("lost_share", [0.0, 0.06, 0.4])
def test_lost_packets_of_a_transport_stream_are_damage(
    suffix: str, picture_s: float, lost_share: float
) -> None:
    """From one packet, in whose place FFmpeg decodes other bytes, to seconds."""
    raw = encode(suffix, MediaTrack(tones(SIX, 48_000), rate_hz=48_000), picture_s=picture_s)
    packets = [raw[at : at + TS_PACKET] for at in range(0, len(raw), TS_PACKET)]
    first = next(n for n in range(len(packets) // 3, len(packets)) if packets[n][1:3] == b"\x01\x00")
    lost = max(1, int(len(packets) * lost_share))
    decoded = read_media(b"".join(packets[:first] + packets[first + lost :]))
    [(start, end, reason)] = decoded.gaps
    assert reason == "damaged_audio"
    assert end - start == pytest.approx(6.0 * lost_share, abs=0.45)
    assert [heard for heard in decoded.seconds if heard is not None][-1] == 5
    for second, heard in enumerate(decoded.seconds):
        assert heard == second or (start - 0.3 <= second + 0.75 and second + 0.25 <= end + 0.3)


def test_packets_with_time_stamps_of_a_camcorder_are_checked_as_well() -> None:
    raw = encode("ts", MediaTrack(tones(SIX)))
    packets = [bytes(4) + raw[at : at + TS_PACKET] for at in range(0, len(raw), TS_PACKET)]
    assert read_media(b"".join(packets)).gaps == []
    [(_, _, reason)] = read_media(b"".join(packets[:100] + packets[103:])).gaps
    assert reason == "damaged_audio"


@pytest.mark.parametrize("suffixes", [TS_SUFFIXES, TS_SUFFIXES[::-1]])
def test_a_transport_stream_that_changes_its_codec_is_read_to_the_end(suffixes: tuple[str, str]) -> None:
    first, second = (
        encode(suffix, MediaTrack(tones(seconds, 48_000), rate_hz=48_000))
        for suffix, seconds in zip(suffixes, ([0, 1, 2], [3, 4, 5]), strict=True)
    )
    decoded = read_media(first + second)
    assert decoded.seconds == [*SIX]
    assert decoded.gaps == []


def test_the_page_of_ogg_after_a_lost_one_keeps_its_time() -> None:
    """FFmpeg counts it on from the page before, until its end."""
    raw = bytearray(encode("opus", MediaTrack(tones(SIX))))
    pages = [at for at in range(len(raw)) if raw.startswith(b"OggS", at)]
    raw[pages[4] + 100] ^= 1
    decoded = read_media(bytes(raw))
    [(start, end, reason)] = decoded.gaps
    assert reason == "damaged_audio"
    assert end - start == pytest.approx(1.0, abs=0.05)
    assert decoded.seconds == [second if not start <= second + 0.5 < end else None for second in SIX]


@pytest.mark.parametrize("suffix", ["wav", "mp3", "aac", "mkv", "webm", "ogg", "opus", "flac"])
def test_a_truncated_file_is_decoded_and_its_missing_part_is_a_gap(suffix: str) -> None:
    raw = encode(suffix, MediaTrack(tones(SIX)))
    decoded = read_media(raw[: int(len(raw) * 0.6)])
    assert decoded.seconds[:3] == [0, 1, 2]
    if suffix in ("wav", "flac", "mkv", "webm", "mp3"):
        [(start, end, reason)] = decoded.gaps
        assert reason == "file_ends_early"
        assert start == pytest.approx(len(decoded.pcm) / RATE, abs=0.1)
        assert end == pytest.approx(6.0, abs=0.2)


@pytest.mark.parametrize("suffix", WITH_CLOCK)
def test_audio_that_starts_late_or_jumps_has_the_times_of_the_container(suffix: str) -> None:
    track = MediaTrack(tones(SIX), start_s=4.0, jumps=[(3.0, 12.0)])
    decoded = read_media(encode(suffix, track))
    assert decoded.seconds[:22] == [*[None] * 4, 0, 1, 2, *[None] * 12, 3, 4, 5]
    [(start, end, reason)] = decoded.gaps
    assert reason == "missing_audio"
    assert (start, end) == pytest.approx((7.0, 19.0), abs=0.1)


def test_audio_that_starts_after_the_video_is_late() -> None:
    raw = encode("mp4", MediaTrack(tones([0, 1]), start_s=3.0), picture_s=5.0)
    assert read_media(raw).seconds[:5] == [None, None, None, 0, 1]


@pytest.mark.parametrize("suffix", WITH_TRACKS)
def test_every_track_is_decoded(suffix: str) -> None:
    first = np.concatenate([tones([0]), silence(1), tones([2]), silence(3)], axis=1)
    second = np.concatenate([silence(1), tones([1]), silence(1), tones([3, 4, 5])], axis=1)
    empty = MediaTrack(silence(6))
    decoded = read_media(encode(suffix, empty, MediaTrack(first), MediaTrack(stereo(second, second))))
    assert decoded.seconds == [*SIX]
    assert decoded.gaps == []
    assert np.abs(decoded.pcm[8000:-8000]).max() > 9000  # as loud as alone


def test_a_pause_of_one_track_is_no_gap_while_another_has_audio() -> None:
    paused = MediaTrack(tones([0, 5]), jumps=[(1.0, 4.0)])
    decoded = read_media(encode("mkv", MediaTrack(tones(SIX)), paused))
    assert decoded.seconds == [*SIX]
    assert decoded.gaps == []


@pytest.mark.parametrize("count", [6, 8, 16])
def test_a_voice_in_one_of_many_channels_is_heard(count: int) -> None:
    channels = np.concatenate([silence(6)] * (count - 1) + [tones(SIX)])
    decoded = read_media(wave(channels))
    assert decoded.seconds == [*SIX]
    assert np.abs(decoded.pcm[8000:-8000]).max() > 11_000


@pytest.mark.parametrize("suffix", ["wav", "flac", "mkv"])
def test_channels_in_opposite_phase_do_not_cancel(suffix: str) -> None:
    decoded = read_media(encode(suffix, MediaTrack(stereo(tones(SIX), -tones(SIX)))))
    assert decoded.seconds == [*SIX]
    assert np.abs(decoded.pcm[8000:-8000]).max() > 11_000
