"""An item is shown only when the transcript carries it."""

from __future__ import annotations

import pytest

from meeting_assistant.domain.transcript import Speaker, Transcript, Utterance
from meeting_assistant.services.grounding import Grounding, owner_of

LINES = [
    "Good morning, let us begin with the budget.",
    "We agreed to spend 4,500 euros on the new servers, and not more.",
    "I will order them from Nordwind by Friday.",
    "Ben, can you tell the customers?",
    "Yes, I will write to them tomorrow.",
]
TRANSCRIPT = Transcript(
    utterances=[
        Utterance(
            utterance=n, start_ms=n * 1000, end_ms=n * 1000 + 900, speaker="S1" if n % 2 else "S2", text=text
        )
        for n, text in enumerate(LINES, start=1)
    ],
    speakers=[Speaker(label="S1", name="Ana"), Speaker(label="S2", name=None)],
)
GROUNDING = Grounding(TRANSCRIPT, ["Ben Kim"])


def test_an_exact_quote_is_kept_as_it_was_said() -> None:
    found = GROUNDING.check("Spend 4,500 euros on servers.", [2], "agreed to spend 4,500 euros")
    assert found.is_exact
    assert [(e.utterance, e.quote) for e in found.evidence] == [(2, "agreed to spend 4,500 euros")]


@pytest.mark.parametrize(
    "quote", ["we agreed to spend 4,500 Euros on the servers", "agreed to spend 4,500 euro on new servers"]
)
def test_a_lightly_edited_quote_becomes_what_was_said(quote: str) -> None:
    found = GROUNDING.check("Spend 4,500 euros.", [2], quote)
    assert found.evidence
    assert found.evidence[0].quote in LINES[1]


@pytest.mark.parametrize(
    ("lines", "quote"),
    [
        ([2], "we will hire three more engineers next year"),
        ([99], "we will hire three more engineers"),
        ([], "the budget was doubled"),
        ([1], "the"),
        ([1], ""),
    ],
)
def test_what_nobody_said_is_not_carried(lines: list[int], quote: str) -> None:
    assert not GROUNDING.check("Hire engineers.", lines, quote).evidence


def test_a_quote_is_found_where_it_was_said_when_another_line_was_cited() -> None:
    found = GROUNDING.check("Order the servers.", [4], "I will order them from Nordwind by Friday")
    assert [e.utterance for e in found.evidence] == [3]


@pytest.mark.parametrize(
    "text",
    ["Spend 45,000 euros on servers.", "Spend 4,500 euros at Contoso.", "Order 12 servers for 4,500 euros."],
)
def test_a_number_or_a_name_that_was_not_said_is_noticed(text: str) -> None:
    found = GROUNDING.check(text, [2], "agreed to spend 4,500 euros on the new servers")
    assert found.evidence
    assert not found.is_exact


def test_people_who_are_there_may_be_named_although_nobody_said_their_name() -> None:
    assert GROUNDING.check("Ana orders the servers, says Ben.", [3], "I will order them").is_exact


def test_a_sentence_of_the_summary_needs_lines_that_say_so() -> None:
    assert GROUNDING.check_point("They agreed to spend 4,500 euros on new servers.", [2]).is_exact
    assert not GROUNDING.check_point("The moon landing was discussed at length.", [2]).evidence
    assert not GROUNDING.check_point("They agreed on the servers.", [77]).evidence


@pytest.mark.parametrize(
    ("said", "owner"),
    [
        ("Ana", "S1"),
        ("S2", "S2"),
        ("Speaker 2", "S2"),
        ("Ben", "Ben Kim"),
        ("Nordwind", "Nordwind"),
        ("Mallory", None),
        ("", None),
    ],
)
def test_an_owner_is_somebody_present_or_named(said: str, owner: str | None) -> None:
    assert owner_of(said, TRANSCRIPT, ["Ben Kim"]) == owner
