"""The time zone of this machine, by the rules that hold at each moment: a recording of July has summer time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo


class LocalZone(tzinfo):
    """The zone that the system is set to. Works for every form of `TZ`, also without an IANA name."""

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        """Return the offset at a local time."""
        return None if moment is None else moment.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, moment: datetime | None) -> timedelta | None:
        """Return None: the offset contains it."""
        return None

    def tzname(self, moment: datetime | None) -> str | None:
        """Return the system's name for the zone at that time."""
        return None if moment is None else moment.replace(tzinfo=None).astimezone().tzname()

    def fromutc(self, moment: datetime) -> datetime:
        """Return a moment of UTC as local time."""
        return moment.replace(tzinfo=UTC).astimezone().replace(tzinfo=self)
