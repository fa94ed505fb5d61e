"""The start of a meeting, from the best source available; clocks that were never set are ignored."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from meeting_assistant.cli.local_zone import LocalZone
from meeting_assistant.domain.errors import InputError
from meeting_assistant.domain.meeting import MeetingOptions
from meeting_assistant.domain.meeting_start import (
    FileOrigin,
    MeetingStart,
    start_of_live,
    start_of_upload,
    stated_start,
    time_zone,
)

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def start(
    tags: dict[str, str] | None = None,
    *,
    stated: datetime | None = None,
    modified: datetime | None = None,
    duration_s: float | None = 60,
    zone: ZoneInfo = BERLIN,
) -> MeetingStart:
    origin = FileOrigin(zone, None if modified is None else ms(modified))
    options = MeetingOptions(began_at=stated)
    return start_of_upload(options, origin, tags or {}, duration_s, now_ms=ms(NOW))


def test_the_start_comes_from_the_client_the_metadata_the_file_or_the_upload_in_this_order() -> None:
    stated = datetime(2026, 10, 1, 9)
    tags = {"creation_time": "2026-11-02T09:00:00.000000Z"}
    modified = datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert start(tags, stated=stated, modified=modified).local.date() == date(2026, 10, 1)
    assert start(tags, modified=modified).local.date() == date(2026, 11, 2)
    assert start(modified=modified).local.date() == date(2026, 11, 20)
    sources = [
        start(tags, stated=stated, modified=modified).source,
        start(tags, modified=modified).source,
        start(modified=modified).source,
        start().source,
    ]
    assert sources == ["client", "metadata", "file", "upload"]
    assert start().at_ms == ms(NOW)


@pytest.mark.parametrize(
    ("tags", "local"),
    [
        # MP4, M4A, Matroska and WebM state UTC; the place comes from the client.
        ({"creation_time": "2026-07-02T22:30:00.000000Z"}, "2026-07-03T00:30:00+02:00"),
        # QuickTime knows its time zone, which counts more than the header of the same file.
        (
            {
                "com.apple.quicktime.creationdate": "2026-11-02T10:00:00+0900",
                "creation_time": "2026-11-02T01:00:00Z",
            },
            "2026-11-02T10:00:00+09:00",
        ),
        # Broadcast wave: local time in two fields, as FFmpeg names them and as the standard does.
        ({"date": "2026-11-02", "creation_time": "23:11:12"}, "2026-11-02T23:11:12+01:00"),
        ({"origination_date": "2026:11:02", "origination_time": "23-11-12"}, "2026-11-02T23:11:12+01:00"),
        # ID3 and Vorbis comments: a day, or a moment without a zone.
        ({"date": "2026-11-02"}, "2026-11-02T00:00:00+01:00"),
        ({"date": "2026-11-02 08:15"}, "2026-11-02T08:15:00+01:00"),
        ({"tdrc": "2026-11-02T08:15:30"}, "2026-11-02T08:15:30+01:00"),
        ({"date_recorded": "2026-11-02T08:15:30.250-05:00"}, "2026-11-02T08:15:30-05:00"),
    ],
)
def test_the_metadata_of_each_container_gives_the_local_time(tags: dict[str, str], local: str) -> None:
    found = start(tags)
    assert (found.local.isoformat(), found.source) == (local, "metadata")


@pytest.mark.parametrize(
    "value",
    [
        "1904-01-01T00:00:00.000000Z",
        "1970-01-01T00:00:00Z",
        "1969-12-31T23:00:00Z",
        "1980-01-01T00:00:00",
        "2000-01-01T00:00:12",
        "2001-01-01",
        "2027-03-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "0001-01-01",
        "2026",
        "2026-11",
        "2026-13-40",
        "2026-11-02T99:99",
        "2026-11-02T10:00+99:99",
        "yesterday",
        "",
    ],
)
def test_an_impossible_date_is_ignored(value: str) -> None:
    modified = datetime(2026, 11, 20, 10, tzinfo=UTC)
    for tag in ("creation_time", "date", "com.apple.quicktime.creationdate"):
        assert start({tag: value}, modified=modified).local.date() == date(2026, 11, 20)
    # A later tag may still know it.
    assert start({"creation_time": value, "date": "2026-11-02"}).local.date() == date(2026, 11, 2)


def test_a_date_that_the_system_cannot_convert_is_ignored() -> None:
    """Windows knows no local time before 1970, which old recordings state."""

    class WindowsZone(LocalZone):
        def utcoffset(self, moment: datetime | None) -> timedelta | None:
            if moment is not None and moment.year < 1970:
                raise OSError(22, "Invalid argument")
            return super().utcoffset(moment)

    origin = FileOrigin(WindowsZone())
    tags = {"date": "1963-08-28"}
    assert start_of_upload(MeetingOptions(), origin, tags, 60, now_ms=ms(NOW)).source == "upload"


def test_the_modification_time_of_a_file_is_the_end_of_the_recording() -> None:
    found = start(modified=datetime(2026, 11, 20, 23, 30, tzinfo=UTC), duration_s=3600)
    assert found.local.isoformat() == "2026-11-20T23:30:00+01:00"


@pytest.mark.parametrize("modified", [datetime(1970, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)])
def test_an_impossible_file_time_is_ignored(modified: datetime) -> None:
    assert start(modified=modified).source == "upload"


def test_the_utc_offset_is_that_of_the_day_of_the_recording() -> None:
    assert start({"creation_time": "2026-07-02T09:00:00Z"}).utc_offset_minutes == 120
    assert start({"creation_time": "2026-11-02T09:00:00Z"}).utc_offset_minutes == 60


@pytest.mark.parametrize("moment", [datetime(2026, 12, 24), datetime(1970, 1, 1), datetime(9999, 12, 31)])
def test_an_impossible_start_from_the_client_is_refused(moment: datetime) -> None:
    with pytest.raises(InputError, match="cannot have begun then"):
        stated_start(moment, UTC, ms(NOW), "client")


def test_a_start_from_the_client_keeps_its_utc_offset() -> None:
    moment = datetime(2026, 11, 2, 10, tzinfo=timezone(timedelta(hours=9)))
    assert stated_start(moment, BERLIN, ms(NOW), "client").utc_offset_minutes == 540
    in_utc = datetime(2026, 11, 2, 10, tzinfo=UTC)
    assert stated_start(in_utc, BERLIN, ms(NOW), "client").utc_offset_minutes == 60


def test_a_live_meeting_starts_now_unless_its_client_states_a_start() -> None:
    assert start_of_live(MeetingOptions(), 60, ms(NOW)) == MeetingStart(ms(NOW), 60, "clock")
    replayed = start_of_live(MeetingOptions(began_at=datetime(2026, 11, 2, 9)), 60, ms(NOW))
    assert (replayed.local.isoformat(), replayed.source) == ("2026-11-02T09:00:00+01:00", "client")


def test_an_unknown_time_zone_is_refused_and_a_missing_one_is_replaced_by_the_offset() -> None:
    for name in ("Mars/Olympus", "../../etc/passwd", "Europe/\0"):
        with pytest.raises(InputError, match="time zone"):
            time_zone(name, 0)
    assert time_zone(None, 90).utcoffset(None) == timedelta(minutes=90)
