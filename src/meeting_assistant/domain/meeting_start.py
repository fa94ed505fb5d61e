"""When a meeting began, and in which time zone: the day that due dates are resolved against. Pure.

The first of these that is known counts: what the client says, the file's metadata, the file's own time, the moment of
the upload. A person can correct it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from meeting_assistant.domain.errors import InputError
from meeting_assistant.domain.meeting import MeetingOptions, StartSource

EARLIEST_MS = int(datetime(1980, 1, 2, 12, tzinfo=UTC).timestamp() * 1000)
"""Clocks that were never set say 1904, 1970 or 1 January 1980."""
UNSET_DAYS = frozenset({(2000, 1, 1), (2001, 1, 1)})
"""The first days of recorders and of Apple's reference date."""
MOST_AHEAD_MS = 24 * 3_600_000
"""A clock may be wrong by a time zone, not by more."""
_DATE = re.compile(r"(\d{4})[-:/.](\d{1,2})[-:/.](\d{1,2})(?:[T ](.+))?")
_TIME = re.compile(r"(\d{1,2})[:.-](\d{2})(?:[:.-](\d{2})(?:[.,]\d+)?)?\s*(Z|UTC|[+-]\d{2}:?\d{2})?")
_DATE_TAGS = (
    "com.apple.quicktime.creationdate",  # with its time zone, unlike the header of the same file
    "origination_date",
    "creation_time",
    "date_recorded",
    "date",
    "tdrc",
    "icrd",
)
"""In the order of what they are worth: some of `date` is the day on which a file was edited."""
_TIME_TAGS = {"origination_date": "origination_time", "date": "creation_time"}
"""A broadcast wave file holds day and time apart; FFmpeg calls them `date` and `creation_time`."""


@dataclass(frozen=True, slots=True)
class MeetingStart:
    """The moment at which a meeting began."""

    at_ms: int
    """Unix time."""
    utc_offset_minutes: int
    """Offset of the local time there and then."""
    source: StartSource

    @property
    def local(self) -> datetime:
        """The moment in local time."""
        return local_time(self.at_ms, self.utc_offset_minutes)


@dataclass(frozen=True, slots=True)
class FileOrigin:
    """What the sender of a file knows about when and where it was recorded."""

    zone: tzinfo = UTC
    """Time zone of the sender."""
    modified_at_ms: int | None = None
    """When the file was last written, which is about the end of the recording; Unix time."""


UNKNOWN_ORIGIN = FileOrigin()


def local_time(at_ms: int, utc_offset_minutes: int) -> datetime:
    """Return a moment as the clocks of a time zone show it."""
    zone = timezone(timedelta(minutes=utc_offset_minutes))
    return datetime.fromtimestamp(at_ms / 1000, tz=zone)


def time_zone(name: str | None, utc_offset_minutes: int) -> tzinfo:
    """Return a time zone by its IANA name, else by its present offset. Raises InputError for an unknown name."""
    if not name:
        return timezone(timedelta(minutes=utc_offset_minutes))
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InputError(
            f"The time zone {name[:64]!r} is unknown.", "Use a name such as `Europe/Berlin`, or leave it out."
        ) from None


def stated_start(moment: datetime, zone: tzinfo, now_ms: int, source: StartSource) -> MeetingStart:
    """Return the start that somebody states; without an offset it is a time of `zone`.

    Raises InputError when it lies in the future or before there were digital recordings.
    """
    start = _start(moment, zone, source)
    if not _is_plausible(start, now_ms):
        raise InputError(
            "A meeting cannot have begun then.",
            "Give a moment between 1980 and now, as `2026-11-02T09:30+01:00`.",
        )
    return start


def start_of_upload(
    options: MeetingOptions,
    origin: FileOrigin,
    date_tags: Mapping[str, str],
    duration_s: float | None,
    *,
    now_ms: int,
) -> MeetingStart:
    """Return when an uploaded file was recorded. `date_tags` are the file's own, names in lower case.

    Raises InputError for a start that the client states and that cannot be.
    """
    if options.began_at is not None:
        return stated_start(options.began_at, origin.zone, now_ms, "client")
    known = (*_tagged_starts(date_tags, origin.zone), *_written_start(origin, duration_s))
    plausible = (start for start in known if _is_plausible(start, now_ms))
    return next(plausible, start_now(origin.zone, now_ms, "upload"))


def _tagged_starts(tags: Mapping[str, str], zone: tzinfo) -> Iterator[MeetingStart]:
    for tag in _DATE_TAGS:
        moment = _parse(tags.get(tag, ""), tags.get(_TIME_TAGS.get(tag, ""), ""))
        if moment is not None:
            # OSError: Windows does not convert times before 1970 to its own time zone.
            with contextlib.suppress(OverflowError, ValueError, OSError):
                yield _start(moment, zone, "metadata")


def _written_start(origin: FileOrigin, duration_s: float | None) -> Iterator[MeetingStart]:
    if origin.modified_at_ms is not None:
        began_ms = origin.modified_at_ms - int((duration_s or 0) * 1000)
        with contextlib.suppress(OverflowError, ValueError, OSError):
            yield start_now(origin.zone, began_ms, "file")


def start_of_live(options: MeetingOptions, utc_offset_minutes: int, now_ms: int) -> MeetingStart:
    """Return when a meeting that is recorded live began: now, unless the client says when. Raises InputError."""
    zone = time_zone(None, utc_offset_minutes)
    if options.began_at is None:
        return start_now(zone, now_ms, "clock")
    return stated_start(options.began_at, zone, now_ms, "client")


def start_now(zone: tzinfo, now_ms: int, source: StartSource) -> MeetingStart:
    """Return the present moment as a start."""
    return _start(datetime.fromtimestamp(now_ms / 1000, tz=UTC).astimezone(zone), zone, source)


def _start(moment: datetime, zone: tzinfo, source: StartSource) -> MeetingStart:
    """Return the start; a moment in UTC says nothing about the place, so that `zone` gives the offset."""
    local = moment.replace(tzinfo=zone) if moment.tzinfo is None else moment
    if not local.utcoffset():
        local = local.astimezone(zone)
    offset = local.utcoffset() or timedelta()
    return MeetingStart(int(local.timestamp() * 1000), int(offset / timedelta(minutes=1)), source)


def _is_plausible(start: MeetingStart, now_ms: int) -> bool:
    if not EARLIEST_MS <= start.at_ms <= now_ms + MOST_AHEAD_MS:
        return False
    local = start.local
    return (local.year, local.month, local.day) not in UNSET_DAYS


def _parse(day: str, time: str) -> datetime | None:
    """Read the forms that containers use; a year or a month alone is no day."""
    found = _DATE.fullmatch(day.strip())
    if found is None:
        return None
    clock = _TIME.fullmatch((found[4] or time).strip())
    hour, minute, second, zone = clock.groups(default="0") if clock else ("0", "0", "0", "0")
    try:
        return datetime(
            int(found[1]),
            int(found[2]),
            int(found[3]),
            int(hour),
            int(minute),
            int(second),
            tzinfo=_offset(zone),
        )
    except ValueError:
        return None


def _offset(zone: str) -> tzinfo | None:
    """Return the time zone of `+01:00`; UTC for `Z`; None where none is given."""
    if zone == "0":
        return None
    if zone in {"Z", "UTC"}:
        return UTC
    hours, minutes = int(zone[:3]), int(zone[-2:])
    return timezone(timedelta(hours=hours, minutes=-minutes if zone[0] == "-" else minutes))
