"""Questions about what was said, answered sentence by sentence, each with the lines that say it.

A sentence is given out only after its numbers and names were found in the lines that it cites, so an answer can be
shown as it comes. Where no model may be asked, or none answers, the passages that hold the question's words are the
answer.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from meeting_assistant.domain.errors import InputError, LlmError
from meeting_assistant.domain.meeting import Meeting
from meeting_assistant.domain.ports import (
    LlmReply,
    LlmRequest,
    MeetingStore,
    QuestionReader,
    SearchHit,
    SearchIndex,
)
from meeting_assistant.domain.transcript import Transcript, Utterance, display_name
from meeting_assistant.services.llm.json_answers import UnusableAnswerError, after_thoughts, parser_of
from meeting_assistant.services.llm.llm_service import Completion, LLMService, with_problem
from meeting_assistant.services.llm.token_estimate import tokens_in
from meeting_assistant.services.minutes.evidence.grounding import Grounding
from meeting_assistant.services.minutes.minutes_service import MinutesService, language_of
from meeting_assistant.services.minutes.prompts import wire_schema
from meeting_assistant.services.minutes.questions.passages import (
    around,
    fitting,
    passages_of,
    shortened,
    tokens_of,
)
from meeting_assistant.services.minutes.questions.prompt import (
    ModelAnswer,
    ModelSentence,
    Passage,
    question_prompt,
    system_prompt,
)

logger = logging.getLogger(__name__)

ANSWER_TOKENS = 1000
MARGIN = 0.9
MOST_TOKENS = 12_000
SMALLEST_TOKENS = 300
"""About fifteen lines: fewer say no more than the quotations that are the answer without a model."""
HITS = 24
MOST_QUOTES = 4
MAX_QUESTION = 1000

_parse = parser_of(ModelAnswer)


class Citation(BaseModel):
    """The source of a sentence of an answer."""

    meeting_id: str
    heading: str
    """Title and day of its meeting."""
    utterance: int
    start_ms: int
    speaker: str
    """Name to show."""
    quote: str


class AnswerSentence(BaseModel):
    """One sentence of an answer. Given out only when the lines it cites carry it."""

    type: Literal["sentence"] = "sentence"
    text: str
    citations: list[Citation]


class AnswerEnd(BaseModel):
    """The end of an answer."""

    model_config = ConfigDict(serialize_by_alias=True)

    type: Literal["end"] = "end"
    is_found: bool
    """False: the meetings do not hold the answer."""
    provider: str
    """`embedded`: the sentences are what was said, found by its words."""
    model: str | None = None
    dropped: int = 0
    """Sentences that the model gave and the meetings do not carry."""
    error: str | None = Field(default=None, serialization_alias="trouble")
    """Why no language model answered, where one was asked."""


AnswerPiece = AnswerSentence | AnswerEnd


@dataclass(frozen=True, slots=True)
class Found:
    """An utterance that holds what was looked for."""

    meeting: Meeting
    utterance: Utterance
    speaker: str
    """Name to show."""


@dataclass(slots=True)
class _Question:
    text: str
    language: str
    passages: list[Passage]
    is_local_only: bool
    provider: str | None


class AskService:
    """Answers from one meeting, or from all that a person may read."""

    def __init__(
        self,
        store: MeetingStore,
        index: SearchIndex,
        reader: QuestionReader,
        minutes: MinutesService,
        llm: LLMService,
    ) -> None:
        self._store = store
        self._index = index
        self._reader = reader
        self._minutes = minutes
        self._llm = llm

    async def search(self, query: str, *, owner: str | None, limit: int) -> list[Found]:
        """Return utterances with all of the words; where there is none, with any of them."""
        words = query.split()
        hits = await self._index.search(words, owner=owner, has_all=True, limit=limit)
        if not hits:
            hits = await self._index.search(words, owner=owner, limit=limit)
        meetings = {meeting_id: await self._store.get(meeting_id) for meeting_id in _ids(hits)}
        names = {meeting_id: await self._store.speaker_names(meeting_id) for meeting_id in meetings}
        return [
            Found(
                meetings[hit.meeting_id],
                hit.utterance,
                display_name(hit.utterance.speaker, names[hit.meeting_id]),
            )
            for hit in hits
        ]

    async def about_meeting(self, meeting_id: str, question: str) -> AsyncIterator[AnswerPiece]:
        """Answer from one meeting. Raises NotFoundError, InputError."""
        text = _checked(question)
        meeting = await self._store.get(meeting_id)
        transcript = await self._store.transcript(meeting_id)
        room = await self._room(meeting)
        passages = passages_of(meeting, transcript)
        if tokens_of(passages) > room:
            keywords = self._reader.keywords(text, language_of(meeting))
            hits = await self._index.search(keywords, meeting_id=meeting_id, limit=HITS)
            passages = around(passages, {hit.utterance.utterance for hit in hits})
        async for piece in self._answer(await self._question(text, [meeting], fitting(passages, room))):
            yield piece

    async def about_all(self, question: str, *, owner: str | None) -> AsyncIterator[AnswerPiece]:
        """Answer from all meetings of an owner, or from everybody's. Raises InputError."""
        text = _checked(question)
        hits = await self._index.search(self._reader.keywords(text, "en"), owner=owner, limit=HITS)
        meetings = {meeting_id: await self._store.get(meeting_id) for meeting_id in _ids(hits)}
        passages: list[Passage] = []
        # Meetings in the order of their best hit: what does not fit is of the last ones.
        for meeting in meetings.values():
            found = {hit.utterance.utterance for hit in hits if hit.meeting_id == meeting.id}
            passages += around(passages_of(meeting, await self._store.transcript(meeting.id)), found)
        rooms = [await self._room(meeting) for meeting in meetings.values()]
        passages = fitting(passages, min(rooms, default=0))
        async for piece in self._answer(await self._question(text, list(meetings.values()), passages)):
            yield piece

    async def _room(self, meeting: Meeting) -> int:
        """Return how many tokens the lines may take."""
        plan = await self._minutes.plan(meeting)
        if not self._llm.may_ask(is_local_only=plan.is_local_only):
            return MOST_TOKENS
        context = await self._llm.context_tokens(prefer=plan.provider, is_local_only=plan.is_local_only)
        return max(SMALLEST_TOKENS, min(MOST_TOKENS, _room_in(context)))

    async def _question(self, text: str, meetings: Sequence[Meeting], passages: list[Passage]) -> _Question:
        plans = [await self._minutes.plan(meeting) for meeting in meetings]
        return _Question(
            text=text,
            language=language_of(meetings[0]) if meetings else "en",
            passages=passages,
            # One that must not leave the house keeps the others there too.
            is_local_only=any(plan.is_local_only for plan in plans),
            provider=next((plan.provider for plan in plans if plan.provider), None),
        )

    async def _answer(self, question: _Question) -> AsyncIterator[AnswerPiece]:
        if not question.passages:
            yield AnswerEnd(is_found=False, provider="embedded")
            return
        may_ask = self._llm.may_ask(is_local_only=question.is_local_only) and question.provider != "embedded"
        if not may_ask:
            for piece in self._quotes(question):
                yield piece
            return
        asked: _Question | None = question
        reason: str | None = None
        while asked is not None:
            has_begun = False
            try:
                async for piece in self._by_model(asked):
                    has_begun = True
                    yield piece
            except LlmError as error:
                reason = error.message if self._llm.is_configured else None
                if has_begun:
                    # What was shown was said; that it is all cannot be said.
                    yield AnswerEnd(is_found=True, provider="none", error=reason)
                    return
                asked = self._shorter(asked, error)
            else:
                return
        for piece in self._quotes(question, reason):
            yield piece

    def _shorter(self, question: _Question, error: LlmError) -> _Question | None:
        """Return the question on half of its lines after all were too long; None where that helps nothing."""
        if not {error.code, *error.causes} & {"llm_context_overflow", "llm_truncated"}:
            return None
        room = tokens_of(question.passages) // 2
        # How much of the text a server kept when it cut it does not say how much it would have read uncut.
        if error.context_limit is not None and not error.is_silent_cut:
            room = min(room, max(SMALLEST_TOKENS, _room_in(error.context_limit)))
        if room < SMALLEST_TOKENS:
            return None
        texts = [passage.utterance.text for passage in question.passages]
        passages = shortened(
            question.passages, self._reader.best(question.text, texts, question.language), room
        )
        if not passages:
            return None
        logger.info("The lines of a question were too long; it is asked again with half of them.")
        return replace(question, passages=passages)

    async def _by_model(self, question: _Question) -> AsyncIterator[AnswerPiece]:
        request = LlmRequest(
            system=system_prompt(),
            user=question_prompt(question.text, question.passages),
            schema=wire_schema(ModelAnswer),
            schema_name="answer",
            max_output_tokens=ANSWER_TOKENS,
            purpose="ask",
            meeting_ids=tuple(dict.fromkeys(passage.meeting_id for passage in question.passages)),
        )
        checker = _Checker(question.passages, question.language)
        text = ""
        given = dropped = 0
        end: LlmReply | None = None
        async for piece in self._llm.stream(
            request, prefer=question.provider, is_local_only=question.is_local_only
        ):
            if isinstance(piece, LlmReply):
                end = piece
                continue
            text += piece
            complete = _sentences(text)[:-1]
            for sentence in complete[given:]:
                checked = checker.check(sentence)
                dropped += checked is None
                if checked is not None:
                    yield checked
            given = max(given, len(complete))
        try:
            answer = _parse(end.text if end is not None else text)
        except UnusableAnswerError as problem:
            if given or end is None:
                raise _unusable() from problem
            completion = await self._repaired(request, question, end.provider)
            answer, end = completion.value, completion.reply
        found = given - dropped > 0
        for sentence in answer.sentences[given:]:
            checked = checker.check(sentence)
            dropped += checked is None
            if checked is not None:
                found = True
                yield checked
        yield AnswerEnd(
            is_found=found,
            provider=end.provider if end is not None else "none",
            model=end.model if end is not None else None,
            dropped=dropped,
        )

    async def _repaired(
        self, request: LlmRequest, question: _Question, provider: str
    ) -> Completion[ModelAnswer]:
        """Ask again, not streamed, with what was wrong. Raises LlmError."""
        return await self._llm.complete(
            with_problem(request, "it is not a JSON object of the schema"),
            _parse,
            prefer=provider,
            is_local_only=question.is_local_only,
        )

    def _quotes(self, question: _Question, reason: str | None = None) -> Iterable[AnswerPiece]:
        texts = [passage.utterance.text for passage in question.passages]
        best = self._reader.best(question.text, texts, question.language)[:MOST_QUOTES]
        for index in best:
            passage = question.passages[index]
            yield AnswerSentence(text=passage.utterance.text, citations=[_citation(passage)])
        yield AnswerEnd(is_found=bool(best), provider="embedded", error=reason)


class _Checker:
    """Holds sentences of an answer against the numbered lines."""

    def __init__(self, passages: Sequence[Passage], language: str) -> None:
        self._passages = passages
        numbered = Transcript(
            utterances=[
                passage.utterance.model_copy(update={"utterance": number})
                for number, passage in enumerate(passages, start=1)
            ]
        )
        names = {name for passage in passages for name in (passage.speaker, passage.heading)}
        self._grounding = Grounding(numbered, names, spoken=language)

    def check(self, sentence: ModelSentence) -> AnswerSentence | None:
        found = self._grounding.check_point(sentence.text, sentence.lines)
        if not (found.evidence and found.is_exact):
            return None
        cited = [self._passages[evidence.utterance - 1] for evidence in found.evidence]
        return AnswerSentence(text=sentence.text.strip(), citations=[_citation(passage) for passage in cited])


def _ids(hits: Sequence[SearchHit]) -> list[str]:
    return list(dict.fromkeys(hit.meeting_id for hit in hits))


def _checked(question: str) -> str:
    text = " ".join(question.split())
    if not text:
        raise InputError("The question is empty.", "Ask something.")
    if len(text) > MAX_QUESTION:
        raise InputError("The question is too long.", f"Use at most {MAX_QUESTION} characters.")
    return text


def _room_in(context_tokens: int) -> int:
    """Return how many tokens of lines fit beside what every question holds."""
    taken = tokens_in(str(wire_schema(ModelAnswer))) + tokens_in(system_prompt())
    return int((context_tokens - ANSWER_TOKENS) * MARGIN) - taken


def _citation(passage: Passage) -> Citation:
    return Citation(
        meeting_id=passage.meeting_id,
        heading=passage.heading,
        utterance=passage.utterance.utterance,
        start_ms=passage.utterance.start_ms,
        speaker=passage.speaker,
        quote=passage.utterance.text,
    )


def _sentences(text: str) -> list[ModelSentence]:
    """Return the sentences of an answer that is still being written; the last one may not be whole."""
    text = after_thoughts(text)
    begin = text.find("{")
    if begin < 0:
        return []
    try:
        partial = from_json(text[begin:], allow_partial=True)
    except ValueError:
        return []
    listed = partial.get("sentences") if isinstance(partial, dict) else None
    sentences: list[ModelSentence] = []
    for entry in listed if isinstance(listed, list) else []:
        try:
            sentences.append(ModelSentence.model_validate(entry))
        except ValidationError:
            sentences.append(ModelSentence(lines=[], text=""))
    return sentences


def _unusable() -> LlmError:
    return LlmError(
        "The language model answered in a form that cannot be used.",
        "Use a model that can be held to a JSON schema.",
        code="llm_bad_output",
    )
