"""OpenTelemetry: implements `Tracer`. Imported only where traces are asked for; needs the extra `otel`."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from hashlib import blake2b
from uuid import UUID

import requests
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision

from meeting_assistant import __version__
from meeting_assistant.net.routes import route_to
from meeting_assistant.tracing import Span, Value

SCOPE = "meeting_assistant"
STOP_SECONDS = 3.0
_own_ids: ContextVar[tuple[int, int] | None] = ContextVar("own_ids", default=None)
"""Of the span on top that is being made, whose ids are not left to chance."""


class OtelTracer:
    """Spans go out in batches, by a thread of their own; what a receiver does not take is dropped."""

    def __init__(self, endpoint: str, *, service: str, instance: str) -> None:
        ours = Resource(
            {"service.name": service, "service.instance.id": instance, "service.version": __version__}
        )
        # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES of the operator win.
        resource = Resource.create(ours.merge(OTELResourceDetector().detect()).attributes)
        self._provider = TracerProvider(resource=resource, id_generator=_Ids(), shutdown_on_exit=False)
        session = requests.Session()
        session.trust_env = route_to(endpoint).proxy is not None
        self._exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", session=session)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer(SCOPE, __version__)

    def begin(self, name: str, parent: str, attributes: dict[str, Value]) -> Span:
        """A `parent` that nobody can read begins a trace of its own."""
        context = trace.set_span_in_context(trace.NonRecordingSpan(_read(parent)))
        return OtelSpan(self._tracer.start_span(name, context=context, attributes=_named(attributes)))

    def traceparent_of(self, meeting_id: str) -> str:
        """The sampler decides by the id of the trace: the same for every machine."""
        trace_id, span_id = ids_of(meeting_id)
        decision = self._provider.sampler.should_sample(None, trace_id, "meeting").decision
        return _written(trace_id, span_id, is_sampled=decision is Decision.RECORD_AND_SAMPLE)

    def record_meeting(
        self, meeting_id: str, began_ms: int, failed: str | None, attributes: dict[str, Value]
    ) -> None:
        """Record the root span, which has no parent, and the ids that all other spans have pointed to."""
        token = _own_ids.set(ids_of(meeting_id))
        try:
            top = self._tracer.start_span(
                "meeting",
                context=trace.set_span_in_context(trace.INVALID_SPAN),
                attributes=_named(attributes),
                start_time=began_ms * 1_000_000,
            )
        finally:
            _own_ids.reset(token)
        OtelSpan(top).end(failed=failed)

    def stop(self) -> None:
        """Send what is left; a receiver that does not answer is not waited for any longer than `STOP_SECONDS`."""
        watchdog = threading.Timer(STOP_SECONDS, self._exporter.shutdown)
        watchdog.start()
        self._provider.shutdown()
        watchdog.cancel()


class OtelSpan:
    """A span of OpenTelemetry. Implements `Span`."""

    def __init__(self, inner: trace.Span) -> None:
        self._span = inner
        self._is_over = False

    @property
    def traceparent(self) -> str | None:
        """None when it is over: what begins afterwards was not caused by it."""
        if self._is_over:
            return None
        context = self._span.get_span_context()
        return _written(context.trace_id, context.span_id, is_sampled=context.trace_flags.sampled)

    def set(self, **attributes: Value) -> None:
        """Set attributes; called only before the span is over."""
        self._span.set_attributes(_named(attributes))

    def end(self, *, failed: str | None = None) -> None:
        """An error's words stay out: they may hold content."""
        if self._is_over:
            return
        self._is_over = True
        if failed is not None:
            self._span.set_status(trace.StatusCode.ERROR, failed)
        self._span.end()


class _Ids(RandomIdGenerator):
    def generate_trace_id(self) -> int:
        own = _own_ids.get()
        return own[0] if own else super().generate_trace_id()

    def generate_span_id(self) -> int:
        own = _own_ids.get()
        return own[1] if own else super().generate_span_id()


def ids_of(meeting_id: str) -> tuple[int, int]:
    """Trace and span on top: the meeting's UUID as it is, and a digest of it."""
    try:
        trace_id = UUID(meeting_id).int
    except ValueError:
        trace_id = int.from_bytes(blake2b(meeting_id.encode(), digest_size=16).digest())
    return trace_id, int.from_bytes(blake2b(trace_id.to_bytes(16), digest_size=8).digest())


def _named(attributes: dict[str, Value]) -> dict[str, str | int | float | bool]:
    """Names with a dot are OpenTelemetry's own or ours already."""
    return {
        name if "." in name else f"{SCOPE}.{name}": value
        for name, value in attributes.items()
        if value is not None
    }


def _written(trace_id: int, span_id: int, *, is_sampled: bool) -> str:
    return f"00-{trace_id:032x}-{span_id:016x}-{'01' if is_sampled else '00'}"


def _read(traceparent: str) -> trace.SpanContext:
    try:
        _, trace_id, span_id, flags = traceparent.split("-")
        return trace.SpanContext(
            int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=trace.TraceFlags(int(flags, 16))
        )
    except ValueError:
        return trace.INVALID_SPAN_CONTEXT
