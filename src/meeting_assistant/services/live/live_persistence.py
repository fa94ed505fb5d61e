"""What of a live meeting has to be durable beside its sound and its words: its journal's beginning, stretches off the
record, its end, although a disk refuses now and then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from meeting_assistant import observability as obs
from meeting_assistant.domain.errors import ConflictError, NotFoundError, StorageError
from meeting_assistant.domain.events import off_record_gap
from meeting_assistant.domain.meeting import Meeting
from meeting_assistant.domain.ports import AudioJournal, AudioStore, MeetingStore
from meeting_assistant.services.live.live_connection import LiveMeeting
from meeting_assistant.services.live.store_sink import FIRST_PAUSE_S, LONGEST_PAUSE_S

logger = logging.getLogger(__name__)


def open_journal(audio: AudioStore, meeting: Meeting, *, is_new: bool) -> AudioJournal:
    """Blocks. A new one also when the server died before it could make it. Raises as the store does."""
    if is_new or (meeting.received_bytes == 0 and not audio.exists(meeting.id)):
        return audio.create(meeting.id)
    return audio.open(meeting.id, durable_bytes=meeting.received_bytes)


async def go_off_record(store: MeetingStore, live: LiveMeeting) -> None:
    """At once; durable when it returns."""
    live.off_record.begin(live.buffer.received_bytes // live.frame_bytes)
    await store.set_off_record(live.id, live.off_record.spans)


async def go_on_record(store: MeetingStore, live: LiveMeeting) -> None:
    """Stored before it counts: else a restart would silence what is said from here on. Raises StorageError."""
    if not live.off_record.is_open:
        return
    here = live.buffer.received_bytes // live.frame_bytes
    await store.set_off_record(live.id, live.off_record.ended_at(here))
    span = live.off_record.end(here)
    if span is not None:
        gap = off_record_gap(span)
        await live.channel.publish(partial(store.append_event, live.id, gap))


async def end_while_unavailable(
    live: LiveMeeting, end: Callable[[], Awaitable[None]], is_live: Callable[[], bool], pause_s: float
) -> None:
    """After a pause in which it may be called off (`live.grace`), and again as long as the disk refuses.

    Who comes back meanwhile goes on recording; a meeting whose sound is sealed ends all the same.
    """
    next_pause_s = FIRST_PAUSE_S
    while is_live() and (live.connection is None or live.buffer.is_sealed):
        live.grace = asyncio.current_task()
        await asyncio.sleep(pause_s)
        live.grace = None
        try:
            await end()
        except StorageError as error:
            logger.warning(
                "A meeting cannot be ended for now.", extra=obs.log_fields(meeting=live.id, code=error.code)
            )
            pause_s = next_pause_s = min(LONGEST_PAUSE_S, next_pause_s * 2)
        except (ConflictError, NotFoundError):
            return  # the server goes down, or the meeting was deleted
        except Exception:
            logger.exception(
                "Ending a meeting failed in an unexpected way.", extra=obs.log_fields(meeting=live.id)
            )
            pause_s = LONGEST_PAUSE_S
