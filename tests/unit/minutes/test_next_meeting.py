"""Finding the agreed time of the next meeting."""

from __future__ import annotations

from datetime import date, time

import pytest

from meeting_assistant.adapters.minutes_rules.next_meeting import find_next_meetings
from meeting_assistant.domain.transcript import Transcript, Utterance

TUESDAY = date(2026, 11, 24)


def transcript_of(*texts: str) -> Transcript:
    return Transcript(
        utterances=[
            Utterance(utterance=n, rev=1, start_ms=n * 5000, end_ms=n * 5000 + 4000, speaker="S1", text=text)
            for n, text in enumerate(texts, start=1)
        ]
    )


@pytest.mark.parametrize(
    ("sentence", "day", "at"),
    [
        ("Let's meet again on Friday at three.", date(2026, 11, 27), time(15)),
        ("We'll meet again on Thursday at 10:30.", date(2026, 11, 26), time(10, 30)),
        ("Let's talk again tomorrow at half past two.", date(2026, 11, 25), time(14, 30)),
        ("Our next meeting is on the 3rd of December at 9 am.", date(2026, 12, 3), time(9)),
        ("I'll see you all on Friday.", date(2026, 11, 27), None),
        ("Let's catch up on Thursday in the afternoon.", date(2026, 11, 26), None),
        ("We will continue tomorrow at noon.", date(2026, 11, 25), time(12)),
    ],
)
def test_an_agreed_day_and_time_of_the_next_meeting_are_found(
    sentence: str, day: date, at: time | None
) -> None:
    (again,) = find_next_meetings(transcript_of("Thanks, that was useful.", sentence), TUESDAY)
    assert (again.day, again.at, again.utterance) == (day, at, 2)
    assert again.quote in sentence


@pytest.mark.parametrize(
    "sentence",
    [
        "Shall we meet again on Friday?",
        "Maybe we will meet on Friday.",
        "Let's not meet on Friday.",
        "We met on Friday.",
        "Let's meet again some time.",
        "I will send the report on Friday.",
        "We could talk on Friday or on Monday.",
    ],
)
def test_open_past_and_unrelated_dates_are_not_the_next_meeting(sentence: str) -> None:
    assert find_next_meetings(transcript_of(sentence), TUESDAY) == ()


def test_the_last_statement_about_the_day_counts() -> None:
    talk = transcript_of("Let's meet on Friday at two.", "No, let's meet on Friday at four.")
    assert [(again.at, again.utterance) for again in find_next_meetings(talk, TUESDAY)] == [(time(16), 2)]


def test_without_the_date_of_the_meeting_no_day_is_resolved() -> None:
    assert find_next_meetings(transcript_of("Let's meet again on Friday."), None) == ()
