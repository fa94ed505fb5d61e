"""Uploads are decoded where they can do no harm."""

from __future__ import annotations

import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest

from meeting_assistant.adapters.audio.decoder import PyAvDecoder
from meeting_assistant.domain.errors import AudioFormatError, TooLargeError
from meeting_assistant.domain.ports import DecodeLimits

RATE = 16_000


def tone(seconds: float, hz: int = 440, rate: int = RATE) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return (np.sin(np.arange(int(seconds * rate)) * 2 * np.pi * hz / rate) * 8000).astype(np.int16)


def write_wav(
    path: Path, samples: np.ndarray[tuple[int], np.dtype[np.int16]], rate: int = RATE, channels: int = 1
) -> Path:
    with wave.open(str(path), "wb") as sound:
        sound.setparams((channels, 2, rate, 0, "NONE", ""))
        sound.writeframes(samples.tobytes())
    return path


async def decode(path: Path, **limits: float) -> bytes:
    pieces = [piece async for piece in PyAvDecoder().decode(path, DecodeLimits(**limits))]  # type: ignore[arg-type]
    return b"".join(piece for piece in pieces if isinstance(piece, bytes))


async def test_a_canonical_wav_is_decoded_unchanged(tmp_path: Path) -> None:
    samples = tone(1.0)
    assert await decode(write_wav(tmp_path / "a.wav", samples)) == samples.tobytes()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("a.mp3", []),
        ("a.m4a", ["-c:a", "aac"]),
        ("a.ogg", ["-c:a", "libvorbis"]),
        ("a.opus", ["-c:a", "libopus"]),
        ("a.webm", ["-c:a", "libopus"]),
        ("a.flac", []),
        ("a.aiff", []),
        ("a.mka", ["-c:a", "libopus"]),
    ],
)
async def test_common_containers_are_decoded(
    tmp_path: Path, ffmpeg: str, name: str, arguments: list[str]
) -> None:
    source = write_wav(tmp_path / "source.wav", tone(2.0))
    target = tmp_path / name
    subprocess.run([ffmpeg, "-v", "error", "-i", source, *arguments, target], check=True)
    info = await PyAvDecoder().probe(target)
    pcm = await decode(target)
    assert info.channels == 1
    assert len(pcm) / 2 / RATE == pytest.approx(2.0, abs=0.1)
    spectrum = np.abs(np.fft.rfft(np.frombuffer(pcm, "<i2")[8000:24_000].astype(float)))
    assert int(np.argmax(spectrum)) == 440


async def test_the_audio_of_a_video_is_decoded(tmp_path: Path, ffmpeg: str) -> None:
    source = write_wav(tmp_path / "source.wav", tone(1.0))
    film = tmp_path / "film.mp4"
    picture = ["-f", "lavfi", "-i", "color=c=blue:s=64x64:d=1"]
    subprocess.run(
        [ffmpeg, "-v", "error", *picture, "-i", source, "-c:a", "aac", "-shortest", film], check=True
    )
    assert len(await decode(film)) > 0.8 * 2 * RATE


async def test_stereo_and_other_rates_are_converted(tmp_path: Path) -> None:
    left = tone(1.0, rate=48_000)
    stereo = np.stack([left, left], axis=1).reshape(-1)
    pcm = await decode(write_wav(tmp_path / "a.wav", stereo, 48_000, 2))
    assert len(pcm) / 2 == pytest.approx(RATE, abs=50)
    telephone = await decode(write_wav(tmp_path / "b.wav", tone(1.0, rate=8000), 8000))
    assert len(telephone) / 2 == pytest.approx(RATE, abs=50)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello there", bytes(10_000), b"RIFF\x24\x00\x00\x00WAVEfmt ", b"\x89PNG\r\n\x1a\n" * 50],
)
async def test_a_file_without_audio_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "talk.wav"
    path.write_bytes(content)
    with pytest.raises(AudioFormatError) as refused:
        await PyAvDecoder().probe(path)
    assert refused.value.message
    assert refused.value.remedy
    assert str(path) not in str(refused.value)


@pytest.mark.parametrize(
    "attack",
    [
        "ffconcat version 1.0\nfile {secret}\n",
        "ffconcat version 1.0\nfile '{secret}'\nduration 1\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n",
        '<?xml version="1.0"?><MPD><BaseURL>{secret}</BaseURL></MPD>',
    ],
)
async def test_a_playlist_that_names_another_file_reads_nothing(tmp_path: Path, attack: str) -> None:
    secret = write_wav(tmp_path / "secret.wav", tone(1.0))
    for name in (secret.name, str(secret)):
        path = tmp_path / "innocent.wav"
        path.write_text(attack.format(secret=name))
        with pytest.raises(AudioFormatError):
            await PyAvDecoder().probe(path)
        with pytest.raises(AudioFormatError):
            await decode(path)


async def test_a_truncated_file_gives_its_audio_up_to_the_end(tmp_path: Path, ffmpeg: str) -> None:
    source = write_wav(tmp_path / "source.wav", tone(4.0))
    whole = tmp_path / "a.mp3"
    subprocess.run([ffmpeg, "-v", "error", "-i", source, whole], check=True)
    torn = tmp_path / "torn.mp3"
    torn.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert 1.0 < len(await decode(torn)) / 2 / RATE < 3.0


async def test_a_small_file_with_long_silence_is_cut_off_at_the_limit(tmp_path: Path, ffmpeg: str) -> None:
    bomb = tmp_path / "bomb.opus"
    silence = ["-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-t", "240"]
    subprocess.run([ffmpeg, "-v", "error", *silence, "-c:a", "libopus", "-b:a", "6k", bomb], check=True)
    with pytest.raises(TooLargeError, match="hours"):
        await decode(bomb, max_duration_s=60.0)


async def test_a_reader_that_stops_early_leaves_no_process_behind(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "long.wav", tone(120.0))
    pieces = PyAvDecoder().decode(path)
    async for _ in pieces:
        break
    await pieces.aclose()  # type: ignore[attr-defined]
    left = subprocess.run(["pgrep", "-f", "decode_child"], capture_output=True, text=True, check=False)
    assert left.stdout == ""
