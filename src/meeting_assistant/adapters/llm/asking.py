"""Asking with fewer parameters until the server accepts the request; the same for every form of request."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing

from meeting_assistant.adapters.llm.http import InternalServerError, JsonHttp, RefusedParameterError
from meeting_assistant.domain.errors import LlmError
from meeting_assistant.net.optional_parameters import ParameterSearch

BodyWithout = Callable[[frozenset[str]], Mapping[str, object]]
"""Returns the body of a request without these steps of its optional parameters."""


async def post_with_less(
    http: JsonHttp, url: str, body_without: BodyWithout, search: ParameterSearch
) -> Mapping[str, object]:
    """Send a request and return the answer. Raises LlmError."""
    while True:
        try:
            answer = await http.post(url, body_without(search.left_out))
        except LlmError as error:
            if not _can_leave_out(error, search):
                raise
        else:
            search.accept()
            return answer


async def events_with_less(
    http: JsonHttp, url: str, body_without: BodyWithout, search: ParameterSearch
) -> AsyncGenerator[Mapping[str, object], None]:
    """Send a request and yield the events of the answer. Raises LlmError, half-way too."""
    is_accepted = False
    while not is_accepted:
        async with aclosing(http.events(url, body_without(search.left_out))) as events:
            try:
                async for event in events:
                    if not is_accepted:
                        is_accepted = True
                        search.accept()
                    yield event
            except LlmError as error:
                if is_accepted or not _can_leave_out(error, search):
                    raise
            else:
                return


def _can_leave_out(error: LlmError, search: ParameterSearch) -> bool:
    """Leave out what the server refused; return True when asking again is worth it."""
    if isinstance(error, InternalServerError):
        search.crash()
    if not isinstance(error, RefusedParameterError):
        return False
    return search.leave_out(error.parameters) if error.parameters else search.leave_out_next()
