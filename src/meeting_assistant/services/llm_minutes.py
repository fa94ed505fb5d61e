"""Minutes by a language model: in parts, held against what was said, merged without the model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TypeVar

from pydantic import ValidationError
from rapidfuzz import fuzz

from meeting_assistant.domain.errors import LlmError
from meeting_assistant.domain.meeting import Meeting
from meeting_assistant.domain.minutes import ActionItem, Item, Minutes, Provenance
from meeting_assistant.domain.ports import LlmReply, LlmRequest
from meeting_assistant.domain.transcript import Transcript, Utterance
from meeting_assistant.observability import log_fields
from meeting_assistant.services.grounding import Grounding, owner_of
from meeting_assistant.services.llm_service import LLMService
from meeting_assistant.services.minutes_prompt import (
    Action,
    Extract,
    Statement,
    system_prompt,
    tokens_in,
    user_prompt,
    wire_schema,
)

logger = logging.getLogger(__name__)

ANSWER_TOKENS = 2000
DEFAULT_CONTEXT = 8192
"""Of a server that does not say: what the smallest models in use have."""
PROMPT_TOKENS = 1500
"""Instructions and the schema."""
LINES_BEFORE = 4
MAX_DEPTH = 4
"""How often a part is halved before it is given up."""
MAX_SUMMARY = 10
SAME = 85.0
"""Two items that read so much alike and share a line are one."""
T = TypeVar("T", bound=Item)
DueResolver = Callable[[str, date | None], date | None]


@dataclass(slots=True)
class _Gathered:
    """Everything that the parts gave, held against the transcript."""

    extracts: list[Extract] = field(default_factory=list)
    replies: list[LlmReply] = field(default_factory=list)
    read: set[int] = field(default_factory=set)
    """Ids of utterances that a model has read: all of them in the end, or the minutes are not used."""


class LlmMinutes:
    """Writes minutes with whichever of the configured models answers."""

    def __init__(self, llm: LLMService, resolve_due: DueResolver) -> None:
        self._llm = llm
        self._resolve_due = resolve_due
        self._context = DEFAULT_CONTEXT

    async def write(self, meeting: Meeting, transcript: Transcript, *, day: date, language: str) -> Minutes:
        """Raises LlmError when no model gave usable answers for every part."""
        gathered = _Gathered()
        for part, before in self._parts(transcript.utterances):
            await self._read(part, before, meeting, transcript, day, language, gathered, depth=0)
        missing = {u.utterance for u in transcript.utterances} - gathered.read
        if missing:
            raise LlmError(f"{len(missing)} utterances were not read.", "Try again.", code="llm_bad_output")
        # Holding items against a long transcript takes seconds: not on the event loop.
        return await asyncio.to_thread(self._merge, gathered, meeting, transcript, day)

    # --- reading

    def _parts(self, utterances: Sequence[Utterance]) -> list[tuple[list[Utterance], list[Utterance]]]:
        """Runs of whole utterances that fit, each with the last lines of the run before."""
        room = int((self._context - ANSWER_TOKENS - PROMPT_TOKENS) * 0.9)
        parts: list[list[Utterance]] = [[]]
        used = 0
        for utterance in utterances:
            cost = tokens_in(utterance.text) + 8
            if parts[-1] and used + cost > room:
                parts.append([])
                used = 0
            parts[-1].append(utterance)
            used += cost
        befores: list[list[Utterance]] = [[], *(part[-LINES_BEFORE:] for part in parts[:-1])]
        return [(part, before) for part, before in zip(parts, befores, strict=True) if part]

    async def _read(
        self,
        part: list[Utterance],
        before: list[Utterance],
        meeting: Meeting,
        transcript: Transcript,
        day: date,
        language: str,
        gathered: _Gathered,
        *,
        depth: int,
    ) -> None:
        request = LlmRequest(
            system=system_prompt(language),
            user=user_prompt(
                part,
                transcript,
                title=meeting.title,
                day=f"{day:%A, %d %B %Y}",
                attendees=meeting.attendees,
                before=before,
            ),
            schema=wire_schema(),
            schema_name="minutes",
            max_output_tokens=ANSWER_TOKENS,
        )
        try:
            reply = await self._llm.complete(request, prefer=meeting.llm_provider, problem_of=problem_of)
        except LlmError as error:
            if error.context_limit is not None:
                self._context = max(PROMPT_TOKENS + ANSWER_TOKENS + 500, error.context_limit)
            causes = {error.code, *error.causes}
            may_halve = (
                causes & {"llm_context_overflow", "llm_truncated"} and len(part) > 1 and depth < MAX_DEPTH
            )
            if not may_halve:
                raise
            logger.info(
                "A part of a meeting was too long; it is halved.", extra=log_fields(meeting=meeting.id)
            )
            middle = len(part) // 2
            for half, lines in ((part[:middle], before), (part[middle:], part[:middle][-LINES_BEFORE:])):
                await self._read(half, lines, meeting, transcript, day, language, gathered, depth=depth + 1)
            return
        gathered.extracts.append(Extract.model_validate_json(reply.text))
        gathered.replies.append(reply)
        gathered.read |= {utterance.utterance for utterance in part}

    # --- merging

    def _merge(self, gathered: _Gathered, meeting: Meeting, transcript: Transcript, day: date) -> Minutes:
        grounding = Grounding(transcript, meeting.attendees)
        dropped = 0
        summary: list[Item] = []
        for extract in gathered.extracts:
            for point in extract.summary:
                found = grounding.check_point(point.text, point.lines)
                if found.evidence and found.is_exact:
                    summary.append(Item(id="", text=point.text.strip(), evidence=list(found.evidence)))
                else:
                    dropped += 1
        kinds: dict[str, list[Item]] = {"decisions": [], "open_questions": [], "risks": []}
        actions: list[ActionItem] = []
        soft: list[ActionItem] = []
        for extract in gathered.extracts:
            for kind, items in kinds.items():
                statements: list[Statement] = getattr(extract, kind)
                for statement in statements:
                    found = grounding.check(statement.text, statement.lines, statement.quote)
                    if found.evidence and found.is_exact:
                        items.append(Item(id="", text=statement.text.strip(), evidence=list(found.evidence)))
                    else:
                        dropped += 1
            for action in extract.action_items:
                item = self._action(action, grounding, meeting, transcript, day)
                if item is None:
                    dropped += 1
                elif item.support == "verified":
                    actions.append(item)
                else:
                    soft.append(item)
        replies = gathered.replies
        return Minutes(
            summary=_numbered("s", _once(summary)[:MAX_SUMMARY]),
            topics=list(dict.fromkeys(topic.strip() for e in gathered.extracts for topic in e.topics))[:10],
            decisions=_numbered("d", _once(kinds["decisions"])),
            action_items=_numbered("a", _once(actions)),
            open_questions=_numbered("q", _once(kinds["open_questions"])),
            risks=_numbered("r", _once(kinds["risks"])),
            possible_follow_ups=_numbered("f", _once(soft)),
            provenance=Provenance(
                provider=replies[-1].provider if replies else "none",
                model=replies[-1].model if replies else None,
                prompt_tokens=_sum(reply.prompt_tokens for reply in replies),
                completion_tokens=_sum(reply.completion_tokens for reply in replies),
                dropped_items=dropped,
            ),
        )

    def _action(
        self, action: Action, grounding: Grounding, meeting: Meeting, transcript: Transcript, day: date
    ) -> ActionItem | None:
        found = grounding.check(action.text, action.lines, action.quote)
        if not found.evidence:
            return None
        said = " ".join(u.text for u in transcript.utterances if u.utterance in set(action.lines))
        phrase = action.due.strip()
        is_said = bool(phrase) and fuzz.partial_ratio(phrase.casefold(), said.casefold()) >= 90
        return ActionItem(
            id="",
            text=action.text.strip(),
            evidence=list(found.evidence),
            support="verified" if found.is_exact else "weak",
            owner=owner_of(action.owner, transcript, meeting.attendees),
            due=self._resolve_due(phrase.casefold(), day) if is_said else None,
            due_phrase=phrase if is_said else None,
        )


def problem_of(text: str) -> str | None:
    """What is wrong with an answer, in words for the model that gave it; None when it can be used."""
    try:
        Extract.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        return f"{place or 'the answer'}: {first['msg']}"
    return None


def _once(items: Sequence[T]) -> list[T]:
    """The same thing said in two parts, or twice in one, is one item; the first stays."""
    kept: list[T] = []
    for item in items:
        lines = {evidence.utterance for evidence in item.evidence}
        if not any(
            lines & {e.utterance for e in other.evidence}
            and fuzz.token_set_ratio(item.text, other.text) >= SAME
            for other in kept
        ):
            kept.append(item)
    return kept


def _numbered(prefix: str, items: Sequence[T]) -> list[T]:
    """In order of time, with ids that are stable in these minutes."""
    ordered = sorted(items, key=lambda item: min(e.utterance for e in item.evidence))
    return [item.model_copy(update={"id": f"{prefix}{n}"}) for n, item in enumerate(ordered, start=1)]


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None
