"""The title under which a meeting is delivered."""

from __future__ import annotations

import pytest

from meeting_assistant.domain.meeting import Meeting, MeetingState
from meeting_assistant.domain.transcript import Transcript
from meeting_assistant.domain.workflows import MeetingOutcome

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("typed", "delivered"),
    [
        ("Plan \u202egnp.exe\u202c", "Plan gnp.exe"),
        ("Plan\u2067\u2066 B\u2069", "Plan B"),
        ("Plan\r\nBcc: all", "Plan Bcc: all"),
        ("\u202e", "Meeting"),
    ],
)
def test_titles_of_deliveries_have_no_characters_that_reverse_the_text_around_them(
    typed: str, delivered: str
) -> None:
    meeting = Meeting(id="m", title=typed, state=MeetingState.DONE, source="live", created_at_ms=0)
    assert MeetingOutcome(meeting, Transcript(), None, link="").title == delivered
