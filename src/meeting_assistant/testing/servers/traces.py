"""An OpenTelemetry receiver for tests: OTLP over HTTP, as a collector speaks it. Needs the extra `otel`."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

FAILED = 2
"""Of a span's status, in the protocol."""


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """One span, its ids in hex."""

    name: str
    service: str
    trace_id: str
    span_id: str
    parent_id: str
    """Empty on top."""
    start_ns: int
    end_ns: int
    failed: str | None
    attributes: dict[str, str | int | float | bool]


class TraceReceiver:
    """A context manager; `endpoint` is for OTEL_EXPORTER_OTLP_ENDPOINT."""

    def __init__(self) -> None:
        self._spans: list[ReceivedSpan] = []
        self._news = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.path != "/v1/traces" or self.headers["content-type"] != "application/x-protobuf":
                    self.send_error(404)
                    return
                receiver.take(ExportTraceServiceRequest.FromString(body))
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Tests have enough to say."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def endpoint(self) -> str:
        """URL of the receiver, without a path."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def env(self) -> dict[str, str]:
        """Environment of a process that sends its traces here, soon rather than in large batches."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}

    def __enter__(self) -> TraceReceiver:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, request: ExportTraceServiceRequest) -> None:
        """Store the spans that a request contains."""
        found = [
            ReceivedSpan(
                name=span.name,
                service=str(_values(resource.resource.attributes)["service.name"]),
                trace_id=span.trace_id.hex(),
                span_id=span.span_id.hex(),
                parent_id=span.parent_span_id.hex(),
                start_ns=span.start_time_unix_nano,
                end_ns=span.end_time_unix_nano,
                failed=span.status.message if span.status.code == FAILED else None,
                attributes=_values(span.attributes),
            )
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        with self._news:
            self._spans += found
            self._news.notify_all()

    def wait_for(self, meeting_id: str, *names: str, timeout_s: float = 30) -> list[ReceivedSpan]:
        """All spans of a meeting, once these are there (a name as often as it is given). Raises TimeoutError."""

        def came() -> Counter[str]:
            return Counter(one.name for one in self._of(meeting_id))

        with self._news:
            if self._news.wait_for(lambda: Counter(names) <= came(), timeout_s):
                return self._of(meeting_id)
            raise TimeoutError(f"Only these spans came: {came()}")

    def all(self) -> list[ReceivedSpan]:
        """Return the spans of all traces."""
        with self._news:
            return list(self._spans)

    def _of(self, meeting_id: str) -> list[ReceivedSpan]:
        return [one for one in self._spans if one.attributes.get("meeting.id") == meeting_id]


def _values(attributes: Sequence[KeyValue]) -> dict[str, str | int | float | bool]:
    found: dict[str, str | int | float | bool] = {}
    for number in range(len(attributes)):  # a repeated field has no more of a sequence than this
        one = attributes[number]
        kind = one.value.WhichOneof("value")
        assert kind in ("string_value", "int_value", "double_value", "bool_value"), kind
        found[one.key] = getattr(one.value, kind)
    return found
