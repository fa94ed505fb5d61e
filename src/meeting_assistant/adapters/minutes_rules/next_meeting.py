"""Next meetings that were agreed on. English; only what is said for certain, with a day that is certain."""

from __future__ import annotations

import re
from datetime import date, time

from meeting_assistant.adapters.minutes_rules.due_dates import find_due, resolve
from meeting_assistant.adapters.minutes_rules.sentences import Sentence, split_sentences
from meeting_assistant.domain.transcript import Transcript
from meeting_assistant.domain.workflows import NextMeeting

MOST_DAYS_AHEAD = 180
_MEET = (
    r"(?:meet|talk|speak|sync(?: up)?|catch up|reconvene|regroup|get together|come together|continue|"
    r"have (?:a|an|another|our|the) (?:\w+ )?(?:meeting|call|session|sync|catch up)|see (?:you|each other))"
)
_AGREED = re.compile(
    rf"\b(?:let us|we will|we shall|we are going to|so we) (?:all |then |just )?{_MEET}\b"
    r"|\b(?:i will )?(?:see|meet|talk to|speak to) you (?:all |guys |again )*(?:on|next|tomorrow|at|the)\b"
    r"|\b(?:our|the) (?:next|follow up|following) (?:meeting|call|session|sync|one) (?:is|will be|takes place)\b"
)
_OPEN = re.compile(r"\b(?:not|never|if|maybe|perhaps|could|should|would|might|whether|or)\b")
_HOURS = {
    word: number
    for number, word in enumerate(
        "one two three four five six seven eight nine ten eleven twelve".split(), start=1
    )
}
_MINUTES = {"fifteen": 15, "thirty": 30, "forty five": 45}
_HOUR = rf"(?P<hour>\d{{1,2}}|{'|'.join(_HOURS)})"
_HALF = r"(?: ?(?P<half>am|pm|a m|p m)\b| (?:o'clock )?in the (?P<part>morning|afternoon|evening))?"
_TIME = re.compile(
    rf"\bat (?:(?P<past>half past|quarter past) )?{_HOUR}"
    rf"(?:[:.](?P<digits>\d{{2}})| (?P<words>{'|'.join(_MINUTES)}))?{_HALF}"
    r"|\bat (?P<noon>noon)\b"
)
_FIRST_HOUR_OF_WORK = 8


def find_next_meetings(transcript: Transcript, meeting_date: date | None) -> tuple[NextMeeting, ...]:
    """Return one meeting for each agreed day, in order of the days; the last statement about a day counts."""
    found: dict[date, NextMeeting] = {}
    for sentence in split_sentences(transcript.utterances):
        again = _agreed(sentence, meeting_date, transcript)
        if again is not None:
            found[again.day] = again
    return tuple(found[day] for day in sorted(found))


def _agreed(sentence: Sentence, today: date | None, transcript: Transcript) -> NextMeeting | None:
    agreed = _AGREED.search(sentence.normal)
    if today is None or sentence.question or agreed is None or _OPEN.search(sentence.normal):
        return None
    phrase = find_due(sentence, 0, len(sentence.tokens))
    day = resolve(phrase.normal, today) if phrase is not None else None
    if day is None or not 0 < (day - today).days <= MOST_DAYS_AHEAD:
        return None
    position, quote = sentence.pieces()[0]
    return NextMeeting(
        day=day, at=_time(sentence.normal), utterance=transcript.utterances[position].utterance, quote=quote
    )


def _time(normal: str) -> time | None:
    """Return the time of day that is named; None when there is none or it is invalid.

    Where the half of the day is not named, it is the one in which people work.
    """
    match = _TIME.search(normal)
    if match is None:
        return None
    if match["noon"]:
        return time(12)
    hour = int(match["hour"]) if match["hour"].isdigit() else _HOURS[match["hour"]]
    minute = int(match["digits"] or 0) or _MINUTES.get(match["words"] or "", 0)
    minute = {"half past": 30, "quarter past": 15}.get(match["past"] or "", minute)
    half = (match["half"] or "").replace(" ", "")
    is_late = half == "pm" or match["part"] in ("afternoon", "evening")
    is_early = half == "am" or match["part"] == "morning"
    if hour < 12 and (is_late or (not is_early and hour < _FIRST_HOUR_OF_WORK)):
        hour += 12
    return time(hour, minute) if hour < 24 and minute < 60 else None
