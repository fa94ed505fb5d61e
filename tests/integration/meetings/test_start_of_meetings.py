"""Files that say when they were recorded, read by the child process that opens them; and the zone of this machine."""

from __future__ import annotations

import asyncio
import os
import struct
import time
import wave
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
import numpy as np
import pytest

from meeting_assistant.adapters.audio.decoder import PyAvDecoder
from meeting_assistant.cli.local_zone import LocalZone
from meeting_assistant.domain.meeting import MeetingOptions
from meeting_assistant.domain.meeting_start import FileOrigin, start_of_upload
from meeting_assistant.testing.harness.recording import RecordingHarness

pytestmark = pytest.mark.integration

NOW_MS = int(datetime(2026, 11, 29, tzinfo=UTC).timestamp() * 1000)
MOMENT = "2026-11-02T09:00:00Z"


def write(path: Path, codec: str, **metadata: str) -> Path:
    """A second of a tone with these tags."""
    with av.open(str(path), "w") as target:
        target.metadata.update(metadata)
        stream = target.add_stream(codec, rate=48_000)
        tone = (np.sin(np.arange(48_000) * 0.03) * 3000).astype(np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
        frame.sample_rate = 48_000
        stream.layout = "mono"
        for made in (frame, None):
            for packet in stream.encode(made):
                target.mux(packet)
    return path


def write_broadcast_wave(path: Path) -> Path:
    """A wave file whose `bext` chunk has the day and the time of its origination."""
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
        sound.writeframes(bytes(32_000))
    riff = path.read_bytes()
    bext = bytes(256 + 32 + 32) + b"2026-11-02" + b"10:11:12" + bytes(602 - 338)
    chunk = b"bext" + struct.pack("<I", len(bext)) + bext
    body = riff[8:12] + chunk + riff[12:]
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


async def start_of(path: Path) -> tuple[str, str]:
    info = await PyAvDecoder().probe(path)
    start = start_of_upload(MeetingOptions(), FileOrigin(), info.date_tags, info.duration_s, now_ms=NOW_MS)
    return start.local.isoformat(), start.source


async def test_the_metadata_of_containers_gives_the_start(tmp_path: Path) -> None:
    files = {
        write(tmp_path / "a.m4a", "aac", creation_time=MOMENT): "2026-11-02T09:00:00+00:00",
        write(tmp_path / "a.mkv", "libopus", creation_time=MOMENT): "2026-11-02T09:00:00+00:00",
        write(tmp_path / "a.ogg", "libopus", DATE="2026-11-02"): "2026-11-02T00:00:00+00:00",
        write(tmp_path / "a.flac", "flac", DATE="2026-11-02"): "2026-11-02T00:00:00+00:00",
        write_broadcast_wave(tmp_path / "a.wav"): "2026-11-02T10:11:12+00:00",
    }
    found = await asyncio.gather(*map(start_of, files))
    assert found == [(moment, "metadata") for moment in files.values()]


@pytest.fixture(params=["Etc/GMT+12", "XXX+12", "Europe/Berlin"])
def machine_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The zone that this machine is set to, with and without an IANA name."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.mark.skipif(os.name == "nt", reason="TZ cannot be set there")
def test_the_command_line_uses_the_local_time_zone_on_the_day_of_the_recording(
    machine_zone: str,
) -> None:
    summer, winter = (datetime(2026, month, 2, 3, tzinfo=UTC) for month in (7, 11))
    hours = (2, 1) if machine_zone == "Europe/Berlin" else (-12, -12)
    for moment, offset in zip((summer, winter), hours, strict=True):
        origin = FileOrigin(LocalZone(), int(moment.timestamp() * 1000))
        start = start_of_upload(MeetingOptions(), origin, {}, 0, now_ms=NOW_MS)
        assert start.local == moment
        assert start.utc_offset_minutes == offset * 60
    stated = MeetingOptions(began_at=datetime(2026, 7, 2, 9))
    local = start_of_upload(stated, FileOrigin(LocalZone()), {}, 0, now_ms=NOW_MS).local
    assert local.utcoffset() == timedelta(hours=hours[0])


async def test_an_upload_stores_the_start_and_its_source(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path) as server:
        (server.uploads.incoming / "file").write_bytes(bytes(3_200))
        modified_ms = int(datetime(2026, 11, 2, 9, 0, tzinfo=UTC).timestamp() * 1000)
        meeting = await server.uploads.take(
            server.uploads.incoming / "file", MeetingOptions(), FileOrigin(modified_at_ms=modified_ms)
        )
        stored = await server.store.get(meeting.id)
        assert stored.began_at_ms == modified_ms - 100
        assert stored.began_at_source == "file"
        assert stored.created_at_ms > modified_ms
        assert stored.title == "Meeting of 02 November 2026, 08:59"
