"""Chooses the lines of transcripts that a question is asked about. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from meeting_assistant.domain.meeting import Meeting
from meeting_assistant.domain.transcript import Transcript
from meeting_assistant.services.llm.token_estimate import tokens_in
from meeting_assistant.services.minutes.minutes_service import local_date
from meeting_assistant.services.minutes.questions.prompt import Passage

NEIGHBOURS = 2
"""Lines before and after a hit: an answer often stands in the next one."""


def passages_of(meeting: Meeting, transcript: Transcript) -> list[Passage]:
    """Return all lines of a meeting."""
    heading = f"{meeting.title}, {local_date(meeting):%d %B %Y}"
    return [
        Passage(meeting.id, heading, transcript.speaker_name(u.speaker), u) for u in transcript.utterances
    ]


def around(passages: Sequence[Passage], found: Collection[int]) -> list[Passage]:
    """Return the lines of one meeting whose numbers were found, and their neighbours."""
    places = [place for place, passage in enumerate(passages) if passage.utterance.utterance in found]
    return [passages[place] for place in sorted(_with_neighbours(places, len(passages)))]


def fitting(passages: Sequence[Passage], room: int) -> list[Passage]:
    """Return the first lines, as many as fit into so many tokens."""
    chosen: list[Passage] = []
    for passage in passages:
        room -= _cost(passage)
        if room < 0:
            break
        chosen.append(passage)
    return chosen


def shortened(passages: Sequence[Passage], best: Sequence[int], room: int) -> list[Passage]:
    """Return lines that fit into so many tokens, in their order: the best with their neighbours, then the first.

    `best`: indexes of the lines that match the question best, best first.
    """
    order = dict.fromkeys([*_with_neighbours(best, len(passages)), *range(len(passages))])
    chosen: list[int] = []
    for place in order:
        if _cost(passages[place]) <= room:
            room -= _cost(passages[place])
            chosen.append(place)
    return [passages[place] for place in sorted(chosen)]


def tokens_of(passages: Sequence[Passage]) -> int:
    """Return how many tokens the lines take."""
    return sum(map(_cost, passages))


def _with_neighbours(places: Sequence[int], count: int) -> list[int]:
    """Return places among so many, each followed by those around it that are not yet named."""
    near = sorted(range(-NEIGHBOURS, NEIGHBOURS + 1), key=abs)
    named = dict.fromkeys(place + offset for place in places for offset in near)
    return [place for place in named if 0 <= place < count]


def _cost(passage: Passage) -> int:
    return tokens_in(passage.utterance.text) + tokens_in(passage.speaker) + 6
