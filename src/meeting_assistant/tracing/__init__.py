"""Traces of meetings, one for each, from the socket to the minutes and what follows from them.

Until `start` is called, every function here does nothing, and OpenTelemetry (the extra `otel`) is not needed.
Attributes hold ids, kinds, engines and numbers; never content, names or secrets.

The id of a meeting's trace is the meeting's id, and the id of its root span is derived from it. So every machine,
before and after a restart, adds its spans to the same trace, and nothing has to be stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from meeting_assistant.domain.errors import MeetingAssistantError

Value = str | int | float | bool | None
"""Value of an attribute; None leaves the attribute out."""


class Span(Protocol):
    """A timed operation."""

    @property
    def traceparent(self) -> str | None:
        """Context for child spans, as W3C Trace Context writes it; None when the span is over or nothing is traced."""
        ...

    def set(self, **attributes: Value) -> None:
        """Set attributes."""
        ...

    def end(self, *, failed: str | None = None) -> None:
        """End the span; `failed` is the code of an error, never its text. Idempotent."""
        ...


class Tracer(Protocol):
    """The backend that `start` installs."""

    def begin(self, name: str, parent: str, attributes: dict[str, Value]) -> Span:
        """Begin a child of another span."""
        ...

    def traceparent_of(self, meeting_id: str) -> str:
        """Return the context of the root span of a meeting."""
        ...

    def record_meeting(
        self, meeting_id: str, began_ms: int, failed: str | None, attributes: dict[str, Value]
    ) -> None:
        """Record the root span, once the meeting is over."""
        ...

    def stop(self) -> None:
        """Send the spans that are left."""
        ...


class _Nothing:
    """A span that records nothing. Implements `Span`."""

    traceparent: str | None = None

    def set(self, **attributes: Value) -> None:
        """Do nothing."""

    def end(self, *, failed: str | None = None) -> None:
        """Do nothing."""


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
    """Send the spans that are left, for a few seconds at most. Idempotent."""
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
    """Begin a span like `begin`; spans that begin inside the context, also in its tasks, are children of it."""
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
    """Return the context of the current span."""
    return _current.get().traceparent


def traceparent_of(meeting_id: str) -> str | None:
    """Return the context of a meeting's root span."""
    return _tracer.traceparent_of(meeting_id) if _tracer is not None else None


def record_meeting(meeting_id: str, *, began_ms: int, failed: str | None = None, **attributes: Value) -> None:
    """Record the root span of a meeting that is over or failed; `began_ms` is Unix time in milliseconds."""
    if _tracer is not None:
        _tracer.record_meeting(meeting_id, began_ms, failed, {"meeting.id": meeting_id, **attributes})


def ids(meeting_id: str | None) -> dict[str, str]:
    """`trace_id` and `span_id` for a line of the log: of the present span, else of the meeting; empty without."""
    known = traceparent() or (traceparent_of(meeting_id) if meeting_id else None)
    if known is None:
        return {}
    _, trace_id, span_id, _ = known.split("-")
    return {"trace_id": trace_id, "span_id": span_id}
