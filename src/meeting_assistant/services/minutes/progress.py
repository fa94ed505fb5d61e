"""Progress of writing minutes, as watchers of a meeting see it."""

from __future__ import annotations

from collections.abc import Callable

from meeting_assistant.domain.events import StatusChanged
from meeting_assistant.services.events.meeting_channel import MeetingChannel


def report_progress(channel: MeetingChannel) -> Callable[[float], None]:
    """Return a callback that publishes the share of a long meeting that has been read (0 to 1)."""

    def report(share: float) -> None:
        channel.broadcast(StatusChanged(status="Writing minutes", progress=min(1.0, share)))

    return report
