"""Due phrases resolve to a day only if they name exactly one."""

from __future__ import annotations

from datetime import date

import pytest

from meeting_assistant.adapters.minutes_rules.due_phrases import resolve_due

THURSDAY = date(2026, 11, 19)


@pytest.mark.parametrize(
    ("language", "phrase", "day"),
    [
        ("en", "by Friday", date(2026, 11, 20)),
        ("en-GB", "by Friday", date(2026, 11, 20)),
        ("de", "bis Freitag", date(2026, 11, 20)),
        ("de", "spätestens bis zum 3. Dezember", date(2026, 12, 3)),
        ("de", "übermorgen", date(2026, 11, 21)),
        ("de", "in drei Tagen", date(2026, 11, 22)),
        ("fr", "avant le 5 janvier", date(2027, 1, 5)),
        ("fr", "vendredi", date(2026, 11, 20)),
        ("es", "el viernes", date(2026, 11, 20)),
        ("it", "entro venerdì", date(2026, 11, 20)),
        ("pl", "jutro", date(2026, 11, 20)),
        ("ja", "明日", date(2026, 11, 20)),
    ],
)
def test_a_due_date_is_resolved_in_the_language_of_the_meeting(language: str, phrase: str, day: date) -> None:
    assert resolve_due(phrase, THURSDAY, language) == day


@pytest.mark.parametrize(
    ("language", "phrase"),
    [
        ("en", "soon"),
        ("en", "next week"),
        ("de", "bald"),
        ("de", "nächste Woche"),
        ("fr", "un jour"),
        ("xx", "x"),
    ],
)
def test_a_phrase_that_names_no_single_day_gives_no_due_date(language: str, phrase: str) -> None:
    assert resolve_due(phrase, THURSDAY, language) is None
