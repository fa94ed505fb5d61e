"""JSON over HTTP to a language model's server, with every failure named.

Nothing that a server answers is repeated in an error: some echo the prompt, which is a transcript.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

from meeting_assistant.adapters.llm.refusals import Refusal, RefusalReport, read_refusal
from meeting_assistant.domain.errors import LlmError
from meeting_assistant.net.addresses import is_loopback, origin_of
from meeting_assistant.net.failures import HttpFailure, HttpProblem
from meeting_assistant.net.http import MAX_ANSWER_BYTES, HttpClient
from meeting_assistant.net.responses import HttpResponse
from meeting_assistant.net.retry_after import retry_after_s

LOOK_TIMEOUT_S = 10.0
"""For what a server knows without thinking: which models it has."""
_ANSWER_KEYS = frozenset({"choices", "content", "candidates", "data"})


class RefusedParameterError(LlmError):
    """The server does not know a parameter of the request, or its value."""

    def __init__(self, place: str, status: int, parameters: Sequence[str]) -> None:
        named = ", ".join(parameters) or "a part of the request that it does not name"
        is_format = parameters[:1] == ("response_format",)
        super().__init__(
            f"{place} does not know this kind of structured answer (HTTP {status})."
            if is_format
            else f"{place} rejected the request (HTTP {status}): {named}.",
            "Use a server with JSON schema support."
            if is_format
            else "Check the model's name and what the server supports.",
            code="llm_format_unsupported" if is_format else "llm_rejected",
        )
        self.parameters = tuple(parameters)
        """Names of `PARAMETERS` that the refusal holds; empty when it names none."""


class InternalServerError(LlmError):
    """The server failed, and did not say over what."""


class JsonHttp:
    """A server and the headers that it wants. Connections are kept open between calls."""

    def __init__(self, name: str, base_url: str, headers: Mapping[str, str], *, timeout_s: float) -> None:
        self.name = name
        self.address = origin_of(base_url)
        """Scheme, host and port: safe to show, with neither a path nor credentials."""
        self.is_loopback = is_loopback(base_url)
        self._timeout_s = timeout_s
        self._client = HttpClient(
            self._failed,
            # A compressed answer may grow to gigabytes, and no server compresses a few kilobytes unless it is asked.
            headers={"Accept-Encoding": "identity", **headers},
            timeout_s=timeout_s,
        )

    async def post(self, url: str, body: Mapping[str, object]) -> Mapping[str, object]:
        """Send a JSON object and return the one that comes back, all within the timeout. Raises LlmError."""
        return self._parsed(await self._client.request("POST", url, body=body, deadline_s=self._timeout_s))

    async def get(self, url: str) -> Mapping[str, object]:
        """Fetch a JSON object. Raises LlmError."""
        deadline_s = min(LOOK_TIMEOUT_S, self._timeout_s)
        return self._parsed(await self._client.request("GET", url, deadline_s=deadline_s))

    async def events(
        self, url: str, body: Mapping[str, object]
    ) -> AsyncGenerator[Mapping[str, object], None]:
        """Send a JSON object and yield those of the server-sent events, all within the timeout.

        Raises LlmError, half-way too.
        """
        events = self._client.events(url, body, deadline_s=self._timeout_s, refusal=self._refusal)
        async with aclosing(events):
            async for event_data in events:
                data = event_data.strip()
                if not data or data == "[DONE]":
                    continue
                event = self._parse(data)
                if event.get("error"):
                    # The status was sent before the failure.
                    raise self._refusal(HttpResponse(_status_of(event["error"]), {}, data))
                yield event

    async def close(self) -> None:
        """Close its connections. Idempotent."""
        await self._client.close()

    def _parsed(self, response: HttpResponse) -> Mapping[str, object]:
        if not response.is_success:
            raise self._refusal(response)
        parsed = self._parse(response.text)
        if parsed.get("error") and not parsed.keys() & _ANSWER_KEYS:
            # Gateways before several models pass a failure on with a status of their own.
            raise self._refusal(HttpResponse(_status_of(parsed["error"]), {}, response.text))
        return parsed

    def _parse(self, content: str) -> Mapping[str, object]:
        try:
            parsed: object = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise self._not_json() from error
        if not isinstance(parsed, dict):
            raise self._not_json()
        return parsed

    def _not_json(self) -> LlmError:
        return LlmError(
            f"{self.name} at {self.address} answered something that is not JSON.",
            "The address may belong to another service: check its base URL.",
            code="llm_bad_output",
        )

    def _failed(self, problem: HttpProblem) -> LlmError:
        """Return the error for an exchange without an answer."""
        place = f"{self.name} at {self.address}"
        match problem.failure:
            case HttpFailure.UNREADABLE:
                return self._not_json()
            case HttpFailure.TOO_LARGE:
                return LlmError(
                    f"{self.name} sent more than {MAX_ANSWER_BYTES // 2**20} MiB.",
                    "The address may belong to another service: check its base URL.",
                    code="llm_bad_output",
                )
            case HttpFailure.TIMED_OUT:
                return LlmError(
                    f"{place} did not answer in time.",
                    "Raise LLM_TIMEOUT_SECONDS, or use a smaller model.",
                    code="llm_timeout",
                )
            case HttpFailure.UNTRUSTED:
                return LlmError(
                    f"{place} {problem.cause}.", problem.remedy, code="llm_untrusted", was_sent=False
                )
            case HttpFailure.PROXY_FAILED:
                return LlmError(f"{place} {problem.cause}.", problem.remedy, code="llm_unavailable")
            case HttpFailure.BAD_ADDRESS | HttpFailure.UNREACHABLE | HttpFailure.INTERRUPTED:
                return LlmError(
                    f"{place} cannot be reached.",
                    "Start the server, or correct its base URL. In a container, `localhost` is the container itself.",
                    code="llm_unavailable",
                    was_sent=problem.failure is HttpFailure.INTERRUPTED,
                )

    def _refusal(self, response: HttpResponse) -> LlmError:
        """Return the error for an answer that is no success."""
        status, content = response.status, response.text
        place = f"{self.name} at {self.address}"
        if status in {401, 403}:
            return LlmError(
                f"{place} refused the key (HTTP {status}).", "Check its API key.", code="llm_auth"
            )
        if status == 404:
            return self._model_missing(status)
        report = read_refusal(status, content)
        if report.about is Refusal.TOO_LONG:
            return LlmError(
                f"The text is longer than {place} can read.",
                "Use a model with a larger context.",
                code="llm_context_overflow",
                context_limit=report.context_tokens,
            )
        if status == 429:
            return LlmError(
                f"{place} is out of quota or asked too often (HTTP 429).",
                "Wait, or raise the quota with the provider.",
                code="llm_rate_limited",
                retry_after_s=retry_after_s(response.headers.get("retry-after")),
            )
        return self._other_refusal(response, report)

    def _other_refusal(self, response: HttpResponse, report: RefusalReport) -> LlmError:
        status, place = response.status, f"{self.name} at {self.address}"
        if report.about is Refusal.CONTENT:
            return LlmError(
                f"{place} refused what was said (HTTP {status}).", "Use another model.", code="llm_refused"
            )
        if report.about is Refusal.PARAMETER:
            return RefusedParameterError(place, status, report.parameters)
        if report.about is Refusal.NO_MODEL:
            return self._model_missing(status)
        if status >= 500 or status == 408:
            kind = InternalServerError if status == 500 else LlmError
            return kind(
                f"{place} failed (HTTP {status}).",
                "Look at that server's own log.",
                code="llm_unavailable",
                retry_after_s=retry_after_s(response.headers.get("retry-after")),
            )
        return LlmError(
            f"{place} rejected the request (HTTP {status}).",
            "Check the model's name and what the server supports.",
            code="llm_rejected",
        )

    def _model_missing(self, status: int) -> LlmError:
        return LlmError(
            f"{self.name} at {self.address} does not know the model or the path (HTTP {status}).",
            "Check the model's name and the base URL.",
            code="llm_model_missing",
        )


def _status_of(error: object) -> int:
    code = error.get("code") if isinstance(error, Mapping) else None
    return code if isinstance(code, int) and 400 <= code < 600 else 500
