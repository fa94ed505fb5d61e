"""Reading the refusals of language models' servers: too long, a parameter that is not known, content. Pure.

Every server has its own words, and some echo the prompt in them. Only what was recognised goes on from here, never the
text itself. `tests/fixtures/server_answers.toml` has the words that are tested.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum


class Refusal(Enum):
    """What a refusal is about."""

    CONTENT = "content"
    """The server will not answer what was asked."""
    TOO_LONG = "too long"
    PARAMETER = "parameter"
    """A parameter is not known, or its value is not permitted: `parameters` names it, or is empty."""
    NO_MODEL = "no model"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class RefusalReport:
    """What was recognised in a refusal."""

    about: Refusal
    parameters: tuple[str, ...] = ()
    """Names of `PARAMETERS`, in the order in which they may be left out."""
    context_tokens: int | None = None
    """How much the server reads in all, where it says so."""


_CONTENT = re.compile(r"content_filter|ResponsibleAIPolicyViolation|content_policy_violation")
_NO_MODEL = re.compile(
    r"model_not_found|no models? (?:is )?loaded|model [^.]{0,80}(?:does not exist|not found)", re.IGNORECASE
)

_NUMBER = r"(\d[\d,_]{1,9})"
_LIMITS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?:max(?:imum)?|model'?s?) (?:[a-z]+ ){{1,2}}(?:length|size|window)[^\d]{{0,9}}{_NUMBER}",
        rf"max_model_len[^\d]{{0,12}}{_NUMBER}",
        rf"max_(?:seq|context|position|input)\w*[^\d]{{0,12}}{_NUMBER}",
        rf'"n_ctx"\s*:\s*{_NUMBER}',
        rf"with {_NUMBER} maximum context length",
        rf"\d (?:tokens )?> {_NUMBER}",
        rf"tokens allowed \({_NUMBER}\)",
        rf"exceeds? (?:the )?(?:context )?limit[^\d]{{0,20}}\d+ \+ \d+ > {_NUMBER}",
        rf"must (?:be|have) (?:<=|<|less than|at most) {_NUMBER}",
        rf"(?:token|tokens|model token|context|length) limit[^\d]{{0,20}}{_NUMBER}",
        rf"limit(?: is|:|\s)+{_NUMBER}",
        rf"Max size: {_NUMBER} tokens",
        rf"\[\d+, ?{_NUMBER}\]",
        rf"context (?:window|size|length)[^\d]{{0,40}}{_NUMBER}",
        rf"cannot exceed {_NUMBER}",
    )
)
_LONG_PHRASES = re.compile(
    r"maximum context length|maximum prompt length|exceed_context_size|context_length_exceeded|max_model_len"
    r"|prompt is too long|exceeds? the (?:maximum number of tokens|context window|available context size)"
    r"|exceeds? context (?:limit|window|size)|tokens_limit_reached|string_above_max_length|max_seq_len|n_ctx"
    r"|context length (?:is )?exceeded|greater than the context length|reached context length|request_too_large"
    r"|request too large|reduce the length|range of input length|prompt exceeds max length|input is too long"
    r"|context the overflows|context overflow|model token limit|context window (?:exceeds|limit)",
    re.IGNORECASE,
)
_LONG_SUBJECT = r"(?:tokens?|context|prompt|inputs?|messages|conversation|sequence|request body)"
_LONG_EXCESS = (
    r"(?:exceed\w*|too (?:long|large|many|big)|longer than|greater than|larger than|more than|beyond|over the limit"
    r"|must (?:be|have) (?:<=?|less than|at most|no more than|shorter)|does not fit|overflow\w*|超)"
)
_LONG = re.compile(
    rf"{_LONG_SUBJECT}\W[^\n]{{0,100}}?{_LONG_EXCESS}|too (?:long|many|large)\W[^\n]{{0,40}}?{_LONG_SUBJECT}",
    re.IGNORECASE,
)

PARAMETERS: dict[str, re.Pattern[str]] = {
    "chat_template_kwargs": re.compile(r"chat_template_kwargs|enable_thinking"),
    "reasoning_effort": re.compile(
        r"reasoning_effort|reasoning\.effort|thinkingConfig|thinking_?(?:level|config)"
    ),
    "stream_options": re.compile(r"stream_options|include_usage"),
    "temperature": re.compile(r"temperature|sampling parameter", re.IGNORECASE),
    "max_tokens": re.compile(r"max_(?:completion_|output_)?tokens|maxOutputTokens"),
    "response_format": re.compile(
        r"response_format|json_schema|json_object|literal_error|grammar|guided|structured[_ ]output"
        r"|responseJsonSchema|responseMimeType|response_(?:json_)?schema|output_config|output_format|JSON mode",
        re.IGNORECASE,
    ),
    "system_role": re.compile(
        r"system[^\n]{0,20}(?:role|message|prompt|instruction)|role[^\n]{0,30}system|roles must alternate"
        r"|only user and assistant|developer instruction",
        re.IGNORECASE,
    ),
}
"""Optional parameters, and how refusals name them; those that the fewest servers know come first."""
_TOO_MUCH_ASKED = re.compile(
    r"max_(?:completion_)?tokens\W[^\n]{0,60}(?:too large|less than|at most|<=)[^\n]{0,80}completion tokens"
)
"""The answer may not be so long; that says nothing about the question."""
_QUESTION = re.compile(r"prompt|input", re.IGNORECASE)
_VAGUE = re.compile(
    r"(?:unrecogni[sz]ed|unknown|unsupported|unexpected|invalid|extra|additional) ?_?"
    r"(?:request |keyword )?(?:parameters?|arguments?|fields?|inputs?|keys?|property|properties|value)"
    r"|extra_forbidden|not permitted|validation error|bad request|unprocessable",
    re.IGNORECASE,
)


def read_refusal(status: int, text: str) -> RefusalReport:
    """Return what a refusal is about. `text`: the body of the answer."""
    if status == 400 and _CONTENT.search(text):
        return RefusalReport(Refusal.CONTENT)
    is_about_answer = _TOO_MUCH_ASKED.search(text) is not None
    if status == 413 or (not is_about_answer and _LONG_PHRASES.search(text)):
        return RefusalReport(Refusal.TOO_LONG, context_tokens=_limit_in(text))
    if status not in {400, 422, 500, 501}:
        return RefusalReport(Refusal.OTHER)
    named = tuple(name for name, words in PARAMETERS.items() if words.search(text))
    is_about_sum = named == ("max_tokens",) and _QUESTION.search(text) and _LONG.search(text)
    if named and not is_about_sum:
        return RefusalReport(Refusal.PARAMETER, named)
    if _LONG.search(text):
        return RefusalReport(Refusal.TOO_LONG, context_tokens=_limit_in(text))
    if status in {400, 422} and _NO_MODEL.search(text):
        return RefusalReport(Refusal.NO_MODEL)
    if status in {400, 422} and (not text.strip() or _VAGUE.search(text)):
        return RefusalReport(Refusal.PARAMETER)
    return RefusalReport(Refusal.OTHER)


SMALLEST_LIMIT = 512
"""A smaller number in a refusal is something else than what a model reads."""


def _limit_in(text: str) -> int | None:
    for pattern in _LIMITS:
        found = pattern.search(text)
        if found is not None:
            limit = int(re.sub(r"[,_]", "", found[1]))
            if limit >= SMALLEST_LIMIT:
                return limit
    return None
