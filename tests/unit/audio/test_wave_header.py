"""Headers of WAV files that lie about the length, in every way that programs have found."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from meeting_assistant.testing.harness.media import RATE, chunk, read_media, silence, tones, wave

FOUR = tones(range(4))
SECOND_BYTES = 2 * RATE
TRAPS = {
    "zero": wave(FOUR, stated=0),
    "largest": wave(FOUR, stated=0xFFFFFFFF),
    "largest signed": wave(FOUR, stated=0x7FFFFFFF),
    "largest less the header": wave(FOUR, stated=0x7FFFFFFF - 36),
    "largest even, less a header": wave(FOUR, stated=0xFFFFFFFF - 44),
    "first second only": wave(FOUR, stated=SECOND_BYTES),
    "one byte": wave(FOUR, stated=1),
    "odd": wave(FOUR, stated=4 * SECOND_BYTES - 1),
    "first second, and a list after the end": wave(
        FOUR, stated=SECOND_BYTES, after=chunk("LIST", b"INFOISFT")
    ),
    "RF64": wave(FOUR, magic="RF64"),
    "RF64 of zero": wave(FOUR, magic="RF64", stated_long=0),
    "RF64 of the largest": wave(FOUR, magic="RF64", stated_long=(1 << 64) - 1),
    "RF64 of the first second": wave(FOUR, magic="RF64", stated_long=SECOND_BYTES),
    "RF64 with the length in the data chunk": wave(FOUR, magic="RF64", stated=4 * SECOND_BYTES),
    "RF64 without ds64": b"RF64" + wave(FOUR, stated=0xFFFFFFFF)[4:],
    "chunks before": wave(
        FOUR, before=chunk("JUNK", bytes(1000)) + chunk("bext", bytes(602)), stated=SECOND_BYTES
    ),
    "odd chunk without its padding": wave(FOUR, before=b"note" + struct.pack("<I", 3) + b"abc"),
    "chunk whose length is wrong": wave(FOUR, before=b"junk" + struct.pack("<I", 0x7FFFFFFF) + bytes(8)),
}


@pytest.mark.parametrize("raw", TRAPS.values(), ids=TRAPS.keys())
def test_audio_is_read_to_the_end_of_the_file(raw: bytes) -> None:
    decoded = read_media(raw)
    assert decoded.seconds == [0, 1, 2, 3]
    assert len(decoded.pcm) / RATE == pytest.approx(4.0, abs=0.01)
    assert decoded.gaps == []


def test_chunks_after_the_audio_data_are_ignored() -> None:
    after = chunk("LIST", b"INFO" + bytes(40_000)) + chunk("id3 ", bytes(40_001))
    decoded = read_media(wave(FOUR, after=after))
    assert len(decoded.pcm) == 4 * RATE


def test_a_truncated_file_reports_how_much_is_missing() -> None:
    decoded = read_media(wave(FOUR)[: 44 + 3 * SECOND_BYTES])
    assert decoded.seconds == [0, 1, 2]
    assert decoded.gaps == [(3.0, 4.0, "file_ends_early")]


@pytest.mark.parametrize("stated", [None, 0, 0xFFFFFFFF])
def test_concatenated_recordings_are_decoded_each_in_its_format(stated: int | None) -> None:
    telephone = tones([2, 3], 8000)
    joined = wave(tones([0, 1]), stated=stated) + wave(
        np.concatenate([telephone, telephone]), rate_hz=8000, stated=stated
    )
    decoded = read_media(joined)
    assert decoded.seconds == [0, 1, 2, 3]
    assert len(decoded.pcm) / RATE == pytest.approx(4.0, abs=0.01)


def test_aiff_is_read_to_the_end_too() -> None:
    data = (FOUR[0] * 32767).astype(">i2").tobytes()
    rate = b"\x40\x0c\xfa" + bytes(7)  # 16 000 as an 80-bit float
    form = struct.pack(">hIh", 1, RATE, 16) + rate
    sound = b"SSND" + struct.pack(">III", 8 + SECOND_BYTES, 0, 0) + data
    chunks = b"AIFF" + b"COMM" + struct.pack(">I", 18) + form + sound
    decoded = read_media(b"FORM" + struct.pack(">I", len(chunks)) + chunks)
    assert decoded.seconds == [0, 1, 2, 3]


RIFX_SAMPLES = {
    (1, 8): ((FOUR[0] * 127) + 128).astype("u1"),
    (1, 16): (FOUR[0] * 32767).astype(">i2"),
    (1, 24): (FOUR[0] * 32767 * 65536).astype(">i4").view("u1").reshape(-1, 4)[:, :3],
    (1, 32): (FOUR[0] * 32767 * 65536).astype(">i4"),
    (3, 32): FOUR[0].astype(">f4"),
}


def rifx(kind: int, bits: int, samples: bytes, stated: int, extension: bytes = b"") -> bytes:
    """Return a WAV file with the high byte first."""
    form = struct.pack(">HHIIHH", kind, 1, RATE, RATE * bits // 8, bits // 8, bits) + extension
    chunks = b"WAVEfmt " + struct.pack(">I", len(form)) + form + b"data" + struct.pack(">I", stated) + samples
    return b"RIFX" + struct.pack(">I", len(chunks)) + chunks


@pytest.mark.parametrize(("kind", "bits"), RIFX_SAMPLES)
@pytest.mark.parametrize("stated", [None, 0, SECOND_BYTES])
def test_wav_with_the_high_byte_first_is_no_noise(kind: int, bits: int, stated: int | None) -> None:
    samples = RIFX_SAMPLES[kind, bits].tobytes()
    raw = rifx(kind, bits, samples, len(samples) if stated is None else stated)
    decoded = read_media(raw)
    assert decoded.seconds == [0, 1, 2, 3]
    assert decoded.gaps == []
    assert np.abs(np.diff(decoded.pcm.astype(np.int32))).max() < 6000, "a tone, not noise"
    assert read_media(raw + wave(FOUR)).seconds == [0, 1, 2, 3, 0, 1, 2, 3]


@pytest.mark.parametrize("order", "><")
def test_wav_with_the_high_byte_first_and_an_extended_header_is_read(order: str) -> None:
    samples = RIFX_SAMPLES[1, 16].tobytes()
    extension = (
        struct.pack(">HHI", 22, 16, 4) + struct.pack(order + "IHH", 1, 0, 16) + b"\x80\0\0\xaa\08\x9bq"
    )
    assert read_media(rifx(0xFFFE, 16, samples, len(samples), extension)).seconds == [0, 1, 2, 3]


def test_wav_with_the_high_byte_first_and_other_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="RIFX"):
        read_media(rifx(2, 4, bytes(1000), 1000))


def test_a_header_without_audio_gives_no_audio() -> None:
    with pytest.raises(Exception, match="no_sound"):
        read_media(wave(silence(0)))
