"""Minutes by a language model: in parts, held against what was said, joined without the model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeVar

from pydantic import BaseModel

from meeting_assistant.domain.errors import LlmError
from meeting_assistant.domain.llm_calls import Purpose
from meeting_assistant.domain.meeting import Meeting
from meeting_assistant.domain.minutes import Item, Minutes
from meeting_assistant.domain.ports import LlmRequest
from meeting_assistant.domain.transcript import Transcript, Utterance
from meeting_assistant.observability import log_fields
from meeting_assistant.services.llm.json_answers import parser_of
from meeting_assistant.services.llm.llm_service import Completion, LLMService
from meeting_assistant.services.llm.token_estimate import tokens_in
from meeting_assistant.services.minutes.draft import (
    MAX_SUMMARY,
    Change,
    Draft,
    follow,
)
from meeting_assistant.services.minutes.evidence.checker import DueResolver, EvidenceChecker
from meeting_assistant.services.minutes.part_size import PartSize
from meeting_assistant.services.minutes.prompts import (
    Condensed,
    answer_model,
    condense_prompt,
    points_prompt,
    system_prompt,
    user_prompt,
    wire_schema,
)

ModelT = TypeVar("ModelT", bound=BaseModel)

logger = logging.getLogger(__name__)

LINES_BEFORE = 4
MOST_NOTED = 40
"""Items that are told again with each part: the newest."""
POINTS_AT_ONCE = 60
"""For a summary: about 3000 tokens."""
Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class MinutesTask:
    """The task of writing the minutes of one meeting."""

    meeting: Meeting
    day: date
    is_local_only: bool = False
    provider: str | None = None
    """Asked first."""


class LlmMinutes:
    """Writes minutes with whichever of the configured models answers."""

    def __init__(self, llm: LLMService, resolve_due: DueResolver) -> None:
        self._llm = llm
        self._resolve_due = resolve_due

    async def write(
        self,
        task: MinutesTask,
        transcript: Transcript,
        draft: Draft,
        progress: Progress = lambda share: None,
    ) -> Minutes:
        """Read what the draft has not read, and sum up. Raises LlmError when no model gave usable answers for all."""
        await self.read(task, transcript, draft, "minutes", progress)
        missing = {u.utterance for u in transcript.utterances} - draft.read.keys()
        if missing:
            raise LlmError(f"{len(missing)} utterances were not read.", "Try again.", code="llm_bad_output")
        draft.points = await self._summary(task, transcript, draft)
        return draft.minutes()

    async def read(
        self,
        task: MinutesTask,
        transcript: Transcript,
        draft: Draft,
        purpose: Purpose,
        progress: Progress = lambda share: None,
    ) -> Change:
        """Read what the draft has not read yet, in parts that fit. Raises LlmError; what was read stays read.

        What was read before follows the transcript, whose speakers may have changed meanwhile.
        """
        await asyncio.to_thread(follow, draft, transcript)
        total = Change()
        size = await self._part_size(task, len(transcript.utterances))
        checker: EvidenceChecker | None = None
        while unread := [u for u in transcript.utterances if u.utterance not in draft.read]:
            request, part = self._next_part(task, transcript, draft, unread, size, purpose)
            try:
                completion = await self._ask(request, task, answer_model(draft.template))
            except LlmError as error:
                if not {error.code, *error.causes} & {"llm_context_overflow", "llm_truncated"}:
                    raise
                tokens = sum(_cost(utterance, transcript) for utterance in part)
                size.shrink(error, utterances=len(part), tokens=tokens, unread=len(unread))
                logger.info(
                    "A part of a meeting was too long; it is halved.",
                    extra=log_fields(meeting=task.meeting.id),
                )
                continue
            checker = checker or await self._checker(task, transcript, draft)
            # Holding items against a long transcript takes seconds: not on the event loop.
            numbers = [utterance.utterance for utterance in part]
            change = await asyncio.to_thread(draft.merge, completion.value, checker, numbers)
            draft.replies.append(completion.reply)
            draft.read |= {u.utterance: (u.speaker, u.text) for u in part}
            total.items += change.items
            total.withdrawn += change.withdrawn
            progress(len(draft.read) / max(1, len(transcript.utterances)))
        return total

    def _next_part(
        self,
        task: MinutesTask,
        transcript: Transcript,
        draft: Draft,
        unread: Sequence[Utterance],
        size: PartSize,
        purpose: Purpose,
    ) -> tuple[LlmRequest, list[Utterance]]:
        """Return a request for as many whole utterances as fit, at least one, and these utterances."""
        first = transcript.utterances.index(unread[0])
        before = transcript.utterances[max(0, first - LINES_BEFORE) : first]
        meeting = task.meeting
        system = system_prompt(draft.language, draft.template)
        schema = wire_schema(answer_model(draft.template))

        def user(part: Sequence[Utterance]) -> str:
            return user_prompt(
                part,
                transcript,
                title=meeting.title,
                day=f"{task.day:%A, %d %B %Y}",
                attendees=meeting.attendees,
                before=before,
                noted=draft.noted()[-MOST_NOTED:],
            )

        taken = tokens_in(system) + tokens_in(str(schema)) + tokens_in(user([]))
        room = size.room(taken)
        part: list[Utterance] = []
        for utterance in unread[: size.most_utterances]:
            room -= _cost(utterance, transcript)
            if part and room < 0:
                break
            part.append(utterance)
        request = LlmRequest(
            system=system,
            user=user(part),
            schema=schema,
            schema_name="minutes",
            max_output_tokens=size.answer_tokens,
            purpose=purpose,
            meeting_ids=(meeting.id,),
        )
        return request, part

    async def _part_size(self, task: MinutesTask, most: int) -> PartSize:
        context = await self._llm.context_tokens(prefer=task.provider, is_local_only=task.is_local_only)
        return PartSize(context, max(1, most))

    async def _checker(self, task: MinutesTask, transcript: Transcript, draft: Draft) -> EvidenceChecker:
        """Return a checker, once for many answers: it reads the whole transcript, which takes a second for hours."""
        return await asyncio.to_thread(
            EvidenceChecker,
            transcript,
            task.meeting.attendees,
            day=task.day,
            language=task.meeting.language or "en",
            written=draft.language,
            resolve_due=self._resolve_due,
        )

    # --- the summary

    async def condense_points(self, task: MinutesTask, transcript: Transcript, draft: Draft) -> None:
        """Join points while a meeting runs, so that fewer are left for its end. Raises LlmError."""
        checker: EvidenceChecker | None = None
        while len(draft.points) - draft.joined >= POINTS_AT_ONCE:
            checker = checker or await self._checker(task, transcript, draft)
            some = draft.points[draft.joined : draft.joined + POINTS_AT_ONCE]
            joined = await self._condense(task, transcript, draft, some, checker, "notes")
            draft.points[draft.joined : draft.joined + POINTS_AT_ONCE] = joined
            draft.joined += len(joined)

    async def _summary(self, task: MinutesTask, transcript: Transcript, draft: Draft) -> list[Item]:
        """Return all points, joined until they are few; where that fails, some from all over the meeting."""
        points = draft.points
        checker: EvidenceChecker | None = None
        while len(points) > MAX_SUMMARY:
            checker = checker or await self._checker(task, transcript, draft)
            try:
                groups = await self._groups(task, transcript, draft, points)
                shorter = [
                    point
                    for group in groups
                    for point in await self._condense(task, transcript, draft, group, checker, "minutes")
                ]
            except LlmError:
                return _spread(points, MAX_SUMMARY)
            if not shorter or len(shorter) >= len(points):
                return _spread(points, MAX_SUMMARY)
            points = shorter
        return points

    async def _groups(
        self, task: MinutesTask, transcript: Transcript, draft: Draft, points: Sequence[Item]
    ) -> list[list[Item]]:
        """Return the points in groups that fit into one question each."""
        size = await self._part_size(task, len(points))
        taken = tokens_in(condense_prompt(draft.language)) + tokens_in(str(wire_schema(Condensed)))
        room = size.room(taken)
        groups: list[list[Item]] = [[]]
        left = room
        for point in points:
            left -= tokens_in(points_prompt([point], transcript))
            if groups[-1] and (left < 0 or len(groups[-1]) == POINTS_AT_ONCE):
                groups.append([])
                left = room - tokens_in(points_prompt([point], transcript))
            groups[-1].append(point)
        return groups

    async def _condense(
        self,
        task: MinutesTask,
        transcript: Transcript,
        draft: Draft,
        given: Sequence[Item],
        checker: EvidenceChecker,
        purpose: Purpose,
    ) -> list[Item]:
        size = await self._part_size(task, len(given))
        request = LlmRequest(
            system=condense_prompt(draft.language),
            user=points_prompt(given, transcript),
            schema=wire_schema(Condensed),
            schema_name="summary",
            max_output_tokens=size.answer_tokens,
            purpose=purpose,
            meeting_ids=(task.meeting.id,),
        )
        completion = await self._ask(request, task, Condensed)
        draft.replies.append(completion.reply)
        points = [checker.point(point) for point in completion.value.summary]
        kept = [point for point in points if point is not None]
        draft.dropped += len(points) - len(kept)
        return kept

    async def _ask(self, request: LlmRequest, task: MinutesTask, answer: type[ModelT]) -> Completion[ModelT]:
        return await self._llm.complete(
            request, parser_of(answer), prefer=task.provider, is_local_only=task.is_local_only
        )


def _cost(utterance: Utterance, transcript: Transcript) -> int:
    """Return how many tokens a line takes."""
    return tokens_in(utterance.text) + tokens_in(transcript.speaker_name(utterance.speaker)) + 6


def _spread(items: Sequence[Item], most: int) -> list[Item]:
    step = max(1.0, len(items) / most)
    return [items[int(n * step)] for n in range(min(most, len(items)))]
