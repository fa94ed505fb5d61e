"""The outcome of a meeting, as integrations get it: record, transcript, minutes, link, next meetings, note."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import date

from meeting_assistant.domain.meeting import Meeting
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.ports import MeetingStore
from meeting_assistant.domain.transcript import Transcript
from meeting_assistant.domain.workflows import MeetingOutcome, NextMeeting

FindNextMeetings = Callable[[Transcript, date], tuple[NextMeeting, ...]]
"""Return the meetings that were agreed on in a transcript of that day."""
WriteNote = Callable[[Meeting, Transcript, Minutes | None], str]
"""Return the meeting as a Markdown note."""


class OutcomeReader:
    """Reads outcomes from the store, anew at each call. Implements `ReadOutcome`."""

    def __init__(
        self,
        meetings: MeetingStore,
        page_address: str,
        *,
        find_next_meetings: FindNextMeetings,
        write_note: WriteNote,
    ) -> None:
        """`page_address` is where people open the web app; links to meetings begin with it."""
        self._meetings = meetings
        self._page_address = page_address
        self._find_next_meetings = find_next_meetings
        self._write_note = write_note

    async def __call__(self, meeting_id: str, *, has_markdown: bool = True) -> MeetingOutcome:
        """Return the outcome; without `has_markdown` the note, which takes time to write, is empty.

        Raises NotFoundError, StorageError.
        """
        outcome = MeetingOutcome(
            meeting=await self._meetings.get(meeting_id),
            transcript=await self._meetings.transcript(meeting_id),
            minutes=await self._meetings.minutes(meeting_id),
            link=f"{self._page_address}/#/meetings/{meeting_id}",
        )
        # For a long meeting this takes longer than the event loop may be blocked.
        return await asyncio.to_thread(self._complete, outcome, has_markdown)

    def _complete(self, outcome: MeetingOutcome, has_markdown: bool) -> MeetingOutcome:
        note = ""
        if has_markdown:
            note = self._write_note(outcome.meeting, outcome.transcript, outcome.minutes)
        next_meetings = self._find_next_meetings(outcome.transcript, outcome.began.date())
        return replace(outcome, next_meetings=next_meetings, markdown=note)
