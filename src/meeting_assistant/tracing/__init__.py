"""Traces of meetings, one for each, from the socket to the minutes and what follows from them.

Until `start` was called nothing here does anything, and OpenTelemetry (the extra `otel`) is not needed. Attributes hold
ids, kinds, engines and numbers; never content, names or secrets.

The id of a meeting's trace is the meeting's id, and that of the span on top follows from it. So whoever does something
for a meeting, on whichever machine and after whichever restart, finds its trace without anything that is stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from meeting_assistant.domain.errors import MeetingAssistantError

Value = str | int | float | bool | None
"""Of an attribute; None leaves it out."""


class Span(Protocol):
    """Something that takes its time."""

    @property
    def traceparent(self) -> str | None:
        """For those that it causes, as W3C Trace Context writes it; None when nothing is traced, or when it is over."""
        ...

    def set(self, **attributes: Value) -> None:
        """Name what is known of it by now."""
        ...

    def end(self, *, failed: str | None = None) -> None:
        """It is over; `failed`: the code of an error, never its words. Idempotent."""
        ...


class Tracer(Protocol):
    """What `start` puts behind this module."""

    def begin(self, name: str, parent: str, attributes: dict[str, Value]) -> Span:
        """A span below another one."""
        ...

    def traceparent_of(self, meeting_id: str) -> str:
        """Of the span on top of a meeting's trace."""
        ...

    def record_meeting(
        self, meeting_id: str, began_ms: int, failed: str | None, attributes: dict[str, Value]
    ) -> None:
        """The span on top, once it is over."""
        ...

    def stop(self) -> None:
        """Send what is left."""
        ...


class _Nothing:
    """Implements `Span` where nothing is traced."""

    traceparent: str | None = None

    def set(self, **attributes: Value) -> None:
        """Nobody asks."""

    def end(self, *, failed: str | None = None) -> None:
        """Nobody asks."""


_NOTHING = _Nothing()
_tracer: Tracer | None = None
_current: ContextVar[Span] = ContextVar("current_span", default=_NOTHING)


def start(endpoint: str, *, service: str, instance: str) -> None:
    """Send traces to an OTLP/HTTP receiver from now on. Raises ImportError without the extra `otel`.

    `endpoint`: address without `/v1/traces`. OpenTelemetry's other variables (headers, sampling, batches) count too.
    """
    global _tracer
    from meeting_assistant.tracing.otel import OtelTracer

    _tracer = OtelTracer(endpoint, service=service, instance=instance)


def stop() -> None:
    """Send what is left, for a few seconds at most; idempotent."""
    global _tracer
    tracer, _tracer = _tracer, None
    if tracer is not None:
        tracer.stop()


def begin(name: str, *, parent: str | None = None, meeting: str | None = None, **attributes: Value) -> Span:
    """A span that the caller ends. It lies below `parent`, else below the present one, else on top of the trace of
    `meeting`; without any of them nothing is traced."""
    if _tracer is None:
        return _NOTHING
    above = parent or traceparent() or (traceparent_of(meeting) if meeting else None)
    if above is None:
        return _NOTHING
    return _tracer.begin(name, above, {"meeting.id": meeting, **attributes})


@contextmanager
def span(
    name: str, *, parent: str | None = None, meeting: str | None = None, **attributes: Value
) -> Iterator[Span]:
    """As `begin`; what is begun within it, also in tasks that are made within it, lies below it."""
    one = begin(name, parent=parent, meeting=meeting, **attributes)
    token = _current.set(one)
    try:
        yield one
    except asyncio.CancelledError:
        one.set(outcome="cancelled")
        raise
    except BaseException as error:
        one.end(failed=error.code if isinstance(error, MeetingAssistantError) else type(error).__name__)
        raise
    finally:
        _current.reset(token)
        one.end()


def traceparent() -> str | None:
    """Of the present span."""
    return _current.get().traceparent


def traceparent_of(meeting_id: str) -> str | None:
    """Of a meeting's trace."""
    return _tracer.traceparent_of(meeting_id) if _tracer is not None else None


def record_meeting(meeting_id: str, *, began_ms: int, failed: str | None = None, **attributes: Value) -> None:
    """The meeting is over, or given up: the span on top, which began when it did (Unix, milliseconds)."""
    if _tracer is not None:
        _tracer.record_meeting(meeting_id, began_ms, failed, {"meeting.id": meeting_id, **attributes})


def ids(meeting_id: str | None) -> dict[str, str]:
    """`trace_id` and `span_id` for a line of the log: of the present span, else of the meeting; empty without."""
    known = traceparent() or (traceparent_of(meeting_id) if meeting_id else None)
    if known is None:
        return {}
    _, trace_id, span_id, _ = known.split("-")
    return {"trace_id": trace_id, "span_id": span_id}
