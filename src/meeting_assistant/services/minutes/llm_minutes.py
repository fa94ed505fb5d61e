"""Minutes by a language model: in parts, held against what was said, joined without the model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from pydantic import BaseModel, ValidationError

from meeting_assistant.domain.errors import LlmError
from meeting_assistant.domain.llm_calls import Purpose
from meeting_assistant.domain.meeting import Meeting
from meeting_assistant.domain.minutes import Item, Minutes
from meeting_assistant.domain.ports import LlmReply, LlmRequest
from meeting_assistant.domain.transcript import Transcript, Utterance
from meeting_assistant.observability import log_fields
from meeting_assistant.services.llm.llm_service import LLMService
from meeting_assistant.services.llm.token_estimate import tokens_in
from meeting_assistant.services.minutes.draft import MAX_SUMMARY, Change, Draft, DueResolver, Judge
from meeting_assistant.services.minutes.draft_changes import follow
from meeting_assistant.services.minutes.prompts import (
    Condensed,
    answer_model,
    condense_prompt,
    points_prompt,
    system_prompt,
    user_prompt,
    wire_schema,
)

logger = logging.getLogger(__name__)

ANSWER_TOKENS = 2000
MARGIN = 0.95
"""Of what an estimate says fits."""
PART_TOKENS = 12_000
"""More at once would fit many models, and they would overlook more."""
LINES_BEFORE = 4
MOST_NOTED = 40
"""Items that are told again with each part: the newest."""
MAX_HALVINGS = 6
POINTS_AT_ONCE = 60
"""For a summary: about 3000 tokens."""
Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Assignment:
    """Of what, for whom and how the minutes are written."""

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
        assignment: Assignment,
        transcript: Transcript,
        draft: Draft,
        progress: Progress = lambda share: None,
    ) -> Minutes:
        """Read what the draft has not read, and sum up. Raises LlmError when no model gave usable answers for all."""
        await self.read(assignment, transcript, draft, "minutes", progress)
        missing = {u.utterance for u in transcript.utterances} - draft.read.keys()
        if missing:
            raise LlmError(f"{len(missing)} utterances were not read.", "Try again.", code="llm_bad_output")
        draft.points = await self._summary(assignment, transcript, draft)
        return draft.minutes()

    async def read(
        self,
        assignment: Assignment,
        transcript: Transcript,
        draft: Draft,
        purpose: Purpose,
        progress: Progress = lambda share: None,
    ) -> Change:
        """Everything that the draft has not read yet, in parts that fit. Raises LlmError; what was read stays read.

        What was read before follows the transcript: speakers may have been told apart meanwhile.
        """
        await asyncio.to_thread(follow, draft, transcript)
        context = await self._llm.context_tokens(
            prefer=assignment.provider, is_local_only=assignment.is_local_only
        )
        total = Change()
        most = len(transcript.utterances)
        halvings = 0
        judge: Judge | None = None
        while unread := [u for u in transcript.utterances if u.utterance not in draft.read]:
            request, part = self._next_part(assignment, transcript, draft, unread[:most], context, purpose)
            try:
                reply = await self._ask(request, assignment, answer_model(draft.template))
            except LlmError as error:
                too_much = {error.code, *error.causes} & {"llm_context_overflow", "llm_truncated"}
                halvings += 1
                if not too_much or len(part) == 1 or halvings > MAX_HALVINGS:
                    raise
                logger.info(
                    "A part of a meeting was too long; it is halved.",
                    extra=log_fields(meeting=assignment.meeting.id),
                )
                most = len(part) // 2
                if error.context_limit is not None:
                    context = min(context, error.context_limit)
                continue
            judge = judge or await self._judge(assignment, transcript, draft)
            # Holding items against a long transcript takes seconds: not on the event loop.
            change = await asyncio.to_thread(_absorb, reply, judge, draft, part)
            draft.replies.append(reply)
            draft.read |= {u.utterance: (u.speaker, u.text) for u in part}
            total.items += change.items
            total.withdrawn += change.withdrawn
            progress(len(draft.read) / max(1, len(transcript.utterances)))
        return total

    def _next_part(
        self,
        assignment: Assignment,
        transcript: Transcript,
        draft: Draft,
        unread: Sequence[Utterance],
        context: int,
        purpose: Purpose,
    ) -> tuple[LlmRequest, list[Utterance]]:
        """As many whole utterances as fit, after the last lines of the part before. At least one."""
        first = transcript.utterances.index(unread[0])
        before = transcript.utterances[max(0, first - LINES_BEFORE) : first]
        meeting = assignment.meeting
        system = system_prompt(draft.language, draft.template)
        schema = wire_schema(answer_model(draft.template))

        def user(part: Sequence[Utterance]) -> str:
            return user_prompt(
                part,
                transcript,
                title=meeting.title,
                day=f"{assignment.day:%A, %d %B %Y}",
                attendees=meeting.attendees,
                before=before,
                noted=draft.noted()[-MOST_NOTED:],
            )

        taken = tokens_in(system) + tokens_in(str(schema)) + tokens_in(user([]))
        room = min(PART_TOKENS, int((context - ANSWER_TOKENS) * MARGIN) - taken)
        part: list[Utterance] = []
        for utterance in unread:
            room -= tokens_in(utterance.text) + tokens_in(transcript.speaker_name(utterance.speaker)) + 6
            if part and room < 0:
                break
            part.append(utterance)
        request = LlmRequest(
            system=system,
            user=user(part),
            schema=schema,
            schema_name="minutes",
            max_output_tokens=ANSWER_TOKENS,
            purpose=purpose,
            meeting_ids=(meeting.id,),
        )
        return request, part

    async def _judge(self, assignment: Assignment, transcript: Transcript, draft: Draft) -> Judge:
        """Of this transcript. It reads the whole, which takes a second for hours: once for many answers."""
        return await asyncio.to_thread(
            Judge,
            transcript,
            assignment.meeting.attendees,
            day=assignment.day,
            language=assignment.meeting.language or "en",
            written=draft.language,
            resolve_due=self._resolve_due,
        )

    # --- the summary

    async def condense_points(self, assignment: Assignment, transcript: Transcript, draft: Draft) -> None:
        """While a meeting runs: so that its end has not all of its points to join. Raises LlmError."""
        judge: Judge | None = None
        while len(draft.points) - draft.joined >= POINTS_AT_ONCE:
            judge = judge or await self._judge(assignment, transcript, draft)
            some = draft.points[draft.joined : draft.joined + POINTS_AT_ONCE]
            joined = await self._condense(assignment, transcript, draft, some, judge, "notes")
            draft.points[draft.joined : draft.joined + POINTS_AT_ONCE] = joined
            draft.joined += len(joined)

    async def _summary(self, assignment: Assignment, transcript: Transcript, draft: Draft) -> list[Item]:
        """The points of all parts, joined until they are few; where that fails, some from all over the meeting."""
        points = draft.points
        judge: Judge | None = None
        while len(points) > MAX_SUMMARY:
            judge = judge or await self._judge(assignment, transcript, draft)
            try:
                groups = await self._groups(assignment, transcript, draft, points)
                shorter = [
                    point
                    for group in groups
                    for point in await self._condense(assignment, transcript, draft, group, judge, "minutes")
                ]
            except LlmError:
                return _spread(points, MAX_SUMMARY)
            if not shorter or len(shorter) >= len(points):
                return _spread(points, MAX_SUMMARY)
            points = shorter
        return points

    async def _groups(
        self, assignment: Assignment, transcript: Transcript, draft: Draft, points: Sequence[Item]
    ) -> list[list[Item]]:
        """As many points at once as fit into one question."""
        context = await self._llm.context_tokens(
            prefer=assignment.provider, is_local_only=assignment.is_local_only
        )
        taken = tokens_in(condense_prompt(draft.language)) + tokens_in(str(wire_schema(Condensed)))
        room = min(PART_TOKENS, int((context - ANSWER_TOKENS) * MARGIN) - taken)
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
        assignment: Assignment,
        transcript: Transcript,
        draft: Draft,
        points: Sequence[Item],
        judge: Judge,
        purpose: Purpose,
    ) -> list[Item]:
        request = LlmRequest(
            system=condense_prompt(draft.language),
            user=points_prompt(points, transcript),
            schema=wire_schema(Condensed),
            schema_name="summary",
            max_output_tokens=ANSWER_TOKENS,
            purpose=purpose,
            meeting_ids=(assignment.meeting.id,),
        )
        reply = await self._ask(request, assignment, Condensed)
        draft.replies.append(reply)
        told = [judge.point(point) for point in Condensed.model_validate_json(reply.text).summary]
        kept = [point for point in told if point is not None]
        draft.dropped += len(told) - len(kept)
        return kept

    async def _ask(self, request: LlmRequest, assignment: Assignment, answer: type[BaseModel]) -> LlmReply:
        return await self._llm.complete(
            request,
            prefer=assignment.provider,
            is_local_only=assignment.is_local_only,
            problem_of=lambda text: problem_of(answer, text),
        )


def problem_of(answer: type[BaseModel], text: str) -> str | None:
    """What is wrong with an answer, in words for the model that gave it; None when it can be used."""
    try:
        answer.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        return f"{place or 'the answer'}: {first['msg']}"
    return None


def _absorb(reply: LlmReply, judge: Judge, draft: Draft, part: Sequence[Utterance]) -> Change:
    extract = answer_model(draft.template).model_validate_json(reply.text)
    return draft.absorb(extract, judge, [utterance.utterance for utterance in part])


def _spread(items: Sequence[Item], most: int) -> list[Item]:
    step = max(1.0, len(items) / most)
    return [items[int(n * step)] for n in range(min(most, len(items)))]
