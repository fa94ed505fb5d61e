"""Traces: sent to an OpenTelemetry receiver when the settings name one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from meeting_assistant import tracing
from meeting_assistant.bootstrap.fleet import machine_name
from meeting_assistant.config import Settings
from meeting_assistant.domain.errors import ConfigurationError


@contextlib.contextmanager
def traced(settings: Settings, part: str) -> Iterator[None]:
    """Send traces while the context is open; `part` names the process in a fleet. Raises ConfigurationError."""
    if settings.otel_exporter_otlp_endpoint is not None:
        try:
            tracing.start(
                settings.otel_exporter_otlp_endpoint,
                service=f"meeting-assistant-{part}",
                instance=machine_name(settings),
            )
        except ImportError as error:
            raise ConfigurationError(
                "OTEL_EXPORTER_OTLP_ENDPOINT is set, and the extra `otel` is not installed.",
                "Install it with `pip install 'meeting-assistant[otel]'`, or unset the variable.",
            ) from error
    try:
        yield
    finally:
        tracing.stop()
