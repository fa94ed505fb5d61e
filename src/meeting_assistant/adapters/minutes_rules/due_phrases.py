"""Words that name a time, in many languages, and the day they name.

English goes by the rules of the embedded writer, which leave open what may mean two days; other languages go by
dateparser, of which only answers that name a day, not a week or a month, are taken.
"""

from __future__ import annotations

from datetime import date, datetime, time
from functools import lru_cache
from typing import Any

from meeting_assistant.adapters.minutes_rules.due_dates import resolve

MOST_WORDS_BEFORE = 3
"""Of a preposition: `spätestens bis zum` Freitag."""


def resolve_due(phrase: str, day: date | None, language: str) -> date | None:
    """The day that a phrase names, said on `day`; None when it names none for certain."""
    code = language.partition("-")[0].lower()
    if code == "en":
        return resolve(phrase.casefold(), day)
    words = phrase.split()
    for first in range(min(MOST_WORDS_BEFORE, len(words) - 1) + 1):
        if first and _day_of(words[first - 1], day, code, "future") is not None:
            return None  # two days are named
        named = _day_of(" ".join(words[first:]), day, code, "future")
        if named is None:
            continue
        before = _day_of(" ".join(words[first:]), day, code, "past")
        today = day or date.today()
        # A span without a direction ("a day") lies as far back as ahead; a day of the week or the year does not.
        is_span = before is not None and named - today == today - before and named != today
        return None if is_span or named < today else named
    return None


def _day_of(phrase: str, day: date | None, code: str, prefer: str) -> date | None:
    parser = _parser(code, day, prefer)
    if not any(map(str.isalpha, phrase)):
        return None
    try:
        found = parser.get_date_data(phrase)
    except ValueError:
        return None  # a language that it does not know
    if found.date_obj is None or found.period != "day":
        return None
    named: date = found.date_obj.date()
    return named


@lru_cache(maxsize=8)
def _parser(code: str, day: date | None, prefer: str) -> Any:
    from dateparser.date import DateDataParser

    settings: dict[str, object] = {"PREFER_DATES_FROM": prefer, "RETURN_AS_TIMEZONE_AWARE": False}
    if day is not None:
        settings["RELATIVE_BASE"] = datetime.combine(day, time())
    return DateDataParser(languages=[code], settings=settings)
