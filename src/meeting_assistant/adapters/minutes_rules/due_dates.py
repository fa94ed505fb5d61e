"""Words that name a day, and the day they name.

A phrase is resolved only when it names one day without doubt. `next Tuesday` said on a Monday may mean
tomorrow or the week after: the phrase is kept, the day stays open. `before Friday` gives the Friday: the day
that was named.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

from meeting_assistant.adapters.minutes_rules.sentences import Sentence

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
    "november", "december",
)  # fmt: skip
_UNITS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
_TEENS = ("tenth", "eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth",
          "seventeenth", "eighteenth", "nineteenth", "twentieth")  # fmt: skip
_CARDINALS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_FAR_AHEAD_DAYS = 300
"""A day of the year that comes round only after this many days was probably meant for the past."""

_ORDINALS: dict[str, int] = {
    **{word: n for n, word in enumerate((*_UNITS, *_TEENS), start=1)},
    **{f"twenty {word}": 20 + n for n, word in enumerate(_UNITS, start=1)},
    "thirtieth": 30,
    "thirty first": 31,
}
_COUNTS = {**{word: n for n, word in enumerate(_CARDINALS, start=1)}, "a": 1, "an": 1}

_WEEKDAY = f"(?:{'|'.join(WEEKDAYS)})"
_MONTH = f"(?:{'|'.join(MONTHS)})"
_ORDINAL = "(?:" + "|".join(sorted(_ORDINALS, key=len, reverse=True)) + r"|\d{1,2}(?:st|nd|rd|th))"
_DAY = rf"(?:{_ORDINAL}|\d{{1,2}})"
_PART_OF_DAY = r"(?: (?:morning|afternoon|evening|night|noon|lunchtime))?"
_WEEK_REF = r"(?:(?:this|the|next|the next|the coming|the following) )?"
_COUNT = rf"(?:\d{{1,2}}|{'|'.join(_COUNTS)}|a couple of|a few)"
_END = r"(?:the )?(?:very )?end of"

_CALENDAR = (
    rf"(?:{_END} (?:the )?day(?: (?:on )?(?:tomorrow|today|{_WEEKDAY}))?|eod(?: (?:tomorrow|today|"
    rf"{_WEEKDAY}))?"
    rf"|close of business(?: (?:tomorrow|today|{_WEEKDAY}))?|(?:today|tomorrow|tonight) (?:at )?{_END} day"
    rf"|{_END} {_WEEK_REF}(?:week|month|year|quarter|sprint)|eow|{_END} {_MONTH}"
    rf"|the day after tomorrow|tomorrow{_PART_OF_DAY}|later today|today|tonight|this (?:morning|"
    rf"afternoon|evening)"
    rf"|(?:a week (?:on|from) {_WEEKDAY}|{_WEEKDAY} week(?= |$))"
    rf"|next week (?:on )?{_WEEKDAY}{_PART_OF_DAY}"
    rf"|(?:{_WEEKDAY} )?the {_ORDINAL} of {_MONTH}(?: \d{{4}})?"
    rf"|(?:{_WEEKDAY} )?{_ORDINAL} (?:of )?{_MONTH}(?: \d{{4}})?|{_DAY} {_MONTH}(?: \d{{4}})?"
    rf"|(?:{_WEEKDAY} )?{_MONTH} (?:the )?{_DAY}(?: \d{{4}})?"
    rf"|{_WEEK_REF}{_WEEKDAY}(?: (?:next week|this week)|{_PART_OF_DAY})"
    r"|\d{4} \d{2} \d{2}|(?:right )?after (?:the|this|our) (?:meeting|call)"
    r"|(?:this|next|the coming|the following) (?:week|month|quarter|sprint|year)"
    rf"|{_COUNT} (?:working |business )?(?:days?|weeks?|months?) (?:from now|from today)"
    r")"
)
_AFTER_PREPOSITION = (
    rf"the {_ORDINAL}(?! \w)|the {_ORDINAL}(?= (?:and|so|okay|at|please))|(?:next |this )?{_MONTH}"
    r"|(?:the|our|my|your) (?:next |following |upcoming )?"
    r"(?:\w+ )?(?:meeting|launch|release|deadline|workshop|demo|review|sync|stand up|sprint planning|"
    r"retro|holidays?|"
    r"weekend|conference|kick off|call|presentation|iteration)|(?:the )?next time|then|noon|lunch"
)
_BY = r"(?:(?:by|before|until|till|no later than|not later than|at the latest by|in time for|on or before) )"
_ON = r"(?:(?:on|for|at|at the latest on|during|within) )"
_WITHIN = rf"(?:in|within) (?:the next )?{_COUNT} (?:working |business )?(?:days?|weeks?|months?)(?: time)?"
_DUE = re.compile(
    rf"(?<!\S)(?:(?P<by>{_BY}(?:{_CALENDAR}|{_AFTER_PREPOSITION}))"
    rf"|(?P<for>for (?:the )?(?:next time|next meeting|our next meeting))|(?P<on>{_ON}{_CALENDAR})|"
    rf"(?P<within>{_WITHIN})|(?P<bare>{_CALENDAR}))(?: at the latest| latest)?(?!\S)"
)
_NOT_DUE_BEFORE = frozenset(
    "to last since from past previous every each than of about was were yesterday between".split()
)


@dataclass(frozen=True, slots=True)
class DuePhrase:
    """A phrase that names a time, and where in its sentence it stands."""

    first: int
    end: int
    """Token range, half-open."""
    normal: str
    is_deadline: bool
    """Said as a deadline (`by`, `before`, `within`), which small talk hardly ever does."""


def find_due(sentence: Sentence, first: int, end: int) -> DuePhrase | None:
    """The last phrase of the range that names when something is to be done."""
    found: DuePhrase | None = None
    for match in _DUE.finditer(sentence.normal):
        a, b = sentence.span(match)
        if a < first or b > end:
            continue
        before = sentence.tokens[a - 1].normal if a > 0 else ""
        is_bare = match.group("bare") is not None
        if before in _NOT_DUE_BEFORE or (is_bare and not _stands_alone(sentence, a, b, end)):
            continue
        found = DuePhrase(
            a, b, match.group(), match.group("by") is not None or match.group("within") is not None
        )
    return found


_MAY_FOLLOW_BARE = frozenset(
    "and so okay please if because but at or then when once after i we you to right".split()
)


def _stands_alone(sentence: Sentence, first: int, end: int, clause_end: int) -> bool:
    """`I'll do it Friday`, not `the Friday report`."""
    if first > 0 and sentence.tokens[first - 1].normal in {"the", "a", "our", "my", "your"}:
        return False
    if end >= clause_end or sentence.tokens[end - 1].comma:
        return True
    return sentence.tokens[end].normal.split()[0] in _MAY_FOLLOW_BARE


def resolve(phrase: str, meeting_date: date | None) -> date | None:
    """The day that a normalised phrase names, or None when that is open."""
    if meeting_date is None:
        return None
    for reading in _READINGS:
        match = reading.pattern.search(phrase)
        if match:
            try:
                return reading.day(match, meeting_date)
            except (ValueError, OverflowError):
                return None
    return None


@dataclass(frozen=True, slots=True)
class _Reading:
    pattern: re.Pattern[str]
    day: Callable[[re.Match[str], date], date | None]


def _coming(weekday: int, today: date) -> date:
    """The next such day after today: who means today says so."""
    return today + timedelta(days=(weekday - today.weekday() - 1) % 7 + 1)


def _monday_of_next_week(today: date) -> date:
    return today + timedelta(days=7 - today.weekday())


def _weekday(match: re.Match[str], today: date) -> date | None:
    coming = _coming(WEEKDAYS.index(match["weekday"]), today)
    qualifier = (match["qualifier"] or "").removeprefix("the ")
    in_next_week = coming >= _monday_of_next_week(today)
    if qualifier == "this" and in_next_week:
        return None
    if qualifier in {"next", "following"} and not in_next_week:
        return None
    return coming


def _weekday_of_week(match: re.Match[str], today: date) -> date | None:
    weekday = WEEKDAYS.index(match["a"] or match["b"])
    if (match["which"] or "next") == "next":
        return _monday_of_next_week(today) + timedelta(days=weekday)
    day = today - timedelta(days=today.weekday()) + timedelta(days=weekday)
    return day if day >= today else None


def _end_of_week(match: re.Match[str], today: date) -> date | None:
    """The Friday: the working week ends there. Said on a weekend, nobody knows which week is meant."""
    which = match["which"] or ""
    if today.weekday() > 4:
        return None
    friday = today + timedelta(days=4 - today.weekday())
    return friday + timedelta(days=7) if "next" in which or "following" in which else friday


def _last_of_month(year: int, month: int) -> date:
    return date(year, month, calendar.monthrange(year, month)[1])


def _end_of_month(match: re.Match[str], today: date) -> date | None:
    which = match["which"] or ""
    if "next" in which or "following" in which:
        first_of_next = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
        return _last_of_month(first_of_next.year, first_of_next.month)
    return _last_of_month(today.year, today.month)


def _end_of_named_month(match: re.Match[str], today: date) -> date | None:
    month = MONTHS.index(match["month"]) + 1
    return _last_of_month(today.year + (month < today.month), month)


def _end_of_year(match: re.Match[str], today: date) -> date | None:
    return date(today.year + ("next" in (match["which"] or "")), 12, 31)


def _day_number(number: str) -> int:
    return _ORDINALS.get(number) or int(re.sub(r"\D", "", number))


def _day_of_month(match: re.Match[str], today: date) -> date | None:
    day = _day_number(match["day"])
    month = MONTHS.index(match["month"]) + 1
    if match["year"]:
        return date(int(match["year"]), month, day)
    found = date(today.year, month, day)
    if found < today:
        found = date(today.year + 1, month, day)
    return found if (found - today).days <= _FAR_AHEAD_DAYS else None


def _day_only(match: re.Match[str], today: date) -> date | None:
    day = _day_number(match["day"])
    if day >= today.day:
        return today.replace(day=day)
    following = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    return following.replace(day=day)


def _after_some_time(match: re.Match[str], today: date) -> date | None:
    number = match["count"]
    if number in {"a couple of", "a few"} or match["unit"].startswith("month") or match["working"]:
        return None
    count = _COUNTS[number] if number in _COUNTS else int(number)
    return today + timedelta(days=count * (7 if match["unit"].startswith("week") else 1))


def _iso(match: re.Match[str], _today: date) -> date | None:
    return date(int(match["y"]), int(match["m"]), int(match["d"]))


def _open(_match: re.Match[str], _today: date) -> date | None:
    return None


def _in(days: int) -> Callable[[re.Match[str], date], date | None]:
    return lambda _match, today: today + timedelta(days=days)


_PARTS = "(?:morning|afternoon|evening)"
_SPAN = rf"(?P<count>{_COUNT}) (?P<working>working |business )?(?P<unit>day|week|month)"
_QUALIFIER = r"(?:(?P<qualifier>this|the|next|the next|the coming|the following) )?"
_READINGS = tuple(
    _Reading(re.compile(pattern), day)
    for pattern, day in (
        (r"\b(?P<y>\d{4}) (?P<m>\d{2}) (?P<d>\d{2})\b", _iso),
        (
            rf"\b(?P<month>{_MONTH}) (?:the )?(?P<day>{_ORDINAL}|\d{{1,2}})\b(?: (?P<year>\d{{4}}))?",
            _day_of_month,
        ),
        (
            rf"\b(?P<day>{_ORDINAL}|\d{{1,2}}) (?:of )?(?P<month>{_MONTH})\b(?: (?P<year>\d{{4}}))?",
            _day_of_month,
        ),
        (rf"\bend of (?P<month>{_MONTH})\b", _end_of_named_month),
        (rf"\bend of (?P<which>{_WEEK_REF})week\b|\beow\b", _end_of_week),
        (rf"\bend of (?P<which>{_WEEK_REF})month\b", _end_of_month),
        (rf"\bend of (?P<which>{_WEEK_REF})year\b", _end_of_year),
        (r"\b(?:quarter|sprint)\b", _open),
        (r"\b(?:a week (?:on|from) |(?:day) week)", _open),
        (r"\bday after tomorrow\b", _in(2)),
        (r"\btomorrow\b", _in(1)),
        (
            rf"\b(?:(?P<which>next|this) week (?:on )?(?P<a>{_WEEKDAY})|(?P<b>{_WEEKDAY}) next week)\b",
            _weekday_of_week,
        ),
        (rf"\b{_QUALIFIER}(?P<weekday>{_WEEKDAY})(?! week\b)\b", _weekday),
        (rf"\b(?:today|tonight|eod|end of (?:the )?day|close of business|this {_PARTS})\b", _in(0)),
        (rf"\b(?:in|within) (?:the next )?{_SPAN}", _after_some_time),
        (rf"\b{_SPAN}s? from (?:now|today)", _after_some_time),
        (rf"^(?:by|before|until|till|no later than|not later than) the (?P<day>{_ORDINAL})\b", _day_only),
    )
)
