"""Search and questions over HTTP. Answers come as server-sent events, or as one document for who asks for JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from meeting_assistant.domain.access import Principal, Scope
from meeting_assistant.domain.errors import ForbiddenError
from meeting_assistant.services.admin.access_service import AccessService
from meeting_assistant.services.admin.held_access import Check
from meeting_assistant.services.minutes.questions.ask_service import (
    MAX_QUESTION,
    AnswerEnd,
    AnswerPiece,
    AnswerSentence,
)
from meeting_assistant.web.context import WebContext
from meeting_assistant.web.middleware.auth import Context, ReadableMeeting, Reader

router = APIRouter(prefix="/api", tags=["ask"])


class Question(BaseModel):
    """A question about one meeting or all of them."""

    model_config = ConfigDict(extra="forbid")
    question: str = Field(min_length=1, max_length=MAX_QUESTION)


class WholeAnswer(BaseModel):
    """A complete answer, not streamed."""

    sentences: list[AnswerSentence]
    end: AnswerEnd


class Hit(BaseModel):
    """An utterance that was found."""

    meeting_id: str
    title: str
    created_at_ms: int
    utterance: int
    start_ms: int
    speaker: str
    text: str


class Hits(BaseModel):
    """Search results, best first."""

    hits: list[Hit]


@router.get("/search")
async def search(
    context: Context,
    caller: Reader,
    q: Annotated[str, Query(min_length=1, max_length=200)],
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Hits:
    """Find what was said, in all of the caller's meetings."""
    owner = None if caller.sees_all else caller.owner
    found = await context.minutes.ask.search(q, owner=owner, limit=limit)
    return Hits(
        hits=[
            Hit(
                meeting_id=hit.meeting.id,
                title=hit.meeting.title,
                created_at_ms=hit.meeting.created_at_ms,
                utterance=hit.utterance.utterance,
                start_ms=hit.utterance.start_ms,
                speaker=hit.speaker,
                text=hit.utterance.text,
            )
            for hit in found
        ]
    )


@router.post("/meetings/{meeting_id}/ask", response_model=WholeAnswer)
async def ask_meeting(
    context: Context, request: Request, caller: Reader, meeting_id: ReadableMeeting, asked: Question
) -> Response:
    """Answer from one meeting, each sentence with the utterances that say it."""
    pieces = context.minutes.ask.about_meeting(meeting_id, asked.question)
    may_read = partial(context.access.require_read, meeting_id=meeting_id)
    return await _answer(request, _guarded(context, caller, pieces, meeting_id, may_read))


@router.post("/ask", response_model=WholeAnswer)
async def ask_all(context: Context, request: Request, caller: Reader, asked: Question) -> Response:
    """Answer from all of the caller's meetings."""
    owner = None if caller.sees_all else caller.owner
    pieces = context.minutes.ask.about_all(asked.question, owner=owner)
    return await _answer(request, _guarded(context, caller, pieces, "", partial(_may_read, owner=owner)))


async def _may_read(principal: Principal, *, owner: str | None) -> None:
    AccessService.require(principal, Scope.READ)
    if principal.owner != owner and not principal.sees_all:
        raise ForbiddenError("You are signed in as somebody else now.", "Ask again.")


async def _guarded(
    context: WebContext, caller: Principal, pieces: AsyncIterator[AnswerPiece], meeting_id: str, check: Check
) -> AsyncIterator[AnswerPiece]:
    """Yield the pieces of an answer as long as its reader may have it."""
    with context.access.registry.hold(caller, meeting_id, check) as held:
        async for piece in held.guard(pieces):
            yield piece


async def _answer(request: Request, pieces: AsyncIterator[AnswerPiece]) -> Response:
    if "text/event-stream" in request.headers.get("accept", ""):
        # The first piece is waited for: what is wrong with the question is an error, not an answer.
        first = await anext(pieces)
        return StreamingResponse(
            _events(first, pieces),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
    sentences: list[AnswerSentence] = []
    async for piece in pieces:
        if isinstance(piece, AnswerSentence):
            sentences.append(piece)
        else:
            return JSONResponse(WholeAnswer(sentences=sentences, end=piece).model_dump(mode="json"))
    raise AssertionError("every answer has an end")


async def _events(first: AnswerPiece, rest: AsyncIterator[AnswerPiece]) -> AsyncIterator[str]:
    yield _event(first)
    async for piece in rest:
        yield _event(piece)


def _event(piece: AnswerPiece) -> str:
    return f"event: {piece.type}\ndata: {piece.model_dump_json()}\n\n"
