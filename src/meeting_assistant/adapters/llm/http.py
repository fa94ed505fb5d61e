"""JSON over HTTP to a language model's server, with every failure named.

Nothing that a server answers is repeated in an error: some echo the prompt, which is a transcript.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing

from meeting_assistant.domain.errors import LlmError
from meeting_assistant.net.addresses import is_loopback, is_private, origin_of
from meeting_assistant.net.http import MAX_ANSWER_BYTES, HttpClient, HttpFailure, HttpResponse
from meeting_assistant.net.retry_after import retry_after_s

LOOK_TIMEOUT_S = 10.0
"""For what a server knows without thinking: which models it has."""

_CONTEXT_LIMITS = (
    re.compile(r"maximum context length is (\d+)"),
    re.compile(r"max_model_len=(\d+)"),
    re.compile(r'"n_ctx"\s*:\s*(\d+)'),
    re.compile(r"context (?:window|size)[^0-9]{0,40}(\d{3,})"),
)
_CONTEXT_WORDS = re.compile(
    r"maximum context length|exceed_context_size|context_length_exceeded|max_model_len|prompt is too long|"
    r"exceeds the maximum number of tokens"
)
_REFUSAL_WORDS = re.compile(r"content_filter|ResponsibleAIPolicyViolation|content_policy_violation")
_FORMAT_WORDS = re.compile(
    r"response_format|json_schema|literal_error|grammar|guided|responseJsonSchema|output_config"
)


class JsonHttp:
    """A server and the headers that it wants. Connections are kept open between calls."""

    def __init__(self, name: str, base_url: str, headers: Mapping[str, str], *, timeout_s: float) -> None:
        self.name = name
        self.address = origin_of(base_url)
        """Scheme, host and port: safe to show, with neither a path nor credentials."""
        self.is_loopback = is_loopback(base_url)
        self._timeout_s = timeout_s
        self._client = HttpClient(
            {
                HttpFailure.BAD_ADDRESS: lambda: self._unreachable(was_sent=False),
                HttpFailure.UNREACHABLE: lambda: self._unreachable(was_sent=False),
                HttpFailure.TIMED_OUT: self._timed_out,
                HttpFailure.INTERRUPTED: self._unreachable,
                HttpFailure.UNREADABLE: self._not_json,
                HttpFailure.TOO_LARGE: self._too_large,
            },
            # A compressed answer may grow to gigabytes, and no server compresses a few kilobytes unless it is asked.
            headers={"Accept-Encoding": "identity", **headers},
            timeout_s=timeout_s,
            # A proxy that the environment names does not know servers of a private network.
            uses_proxies=not is_private(base_url),
        )

    async def post(self, url: str, body: Mapping[str, object]) -> Mapping[str, object]:
        """Send a JSON object and return the one that comes back, all within the timeout. Raises LlmError."""
        return self._parsed(await self._client.request("POST", url, body=body, deadline_s=self._timeout_s))

    async def get(self, url: str) -> Mapping[str, object]:
        """Fetch a JSON object. Raises LlmError."""
        deadline_s = min(LOOK_TIMEOUT_S, self._timeout_s)
        return self._parsed(await self._client.request("GET", url, deadline_s=deadline_s))

    async def events(self, url: str, body: Mapping[str, object]) -> AsyncIterator[Mapping[str, object]]:
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
        if response.is_success:
            return self._parse(response.text)
        raise self._refusal(response)

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

    def _unreachable(self, *, was_sent: bool = True) -> LlmError:
        return LlmError(
            f"{self.name} at {self.address} cannot be reached.",
            "Start the server, or correct its base URL. In a container, `localhost` is the container itself.",
            code="llm_unavailable",
            was_sent=was_sent,
        )

    def _timed_out(self) -> LlmError:
        return LlmError(
            f"{self.name} at {self.address} did not answer in time.",
            "Raise LLM_TIMEOUT_SECONDS, or use a smaller model.",
            code="llm_timeout",
        )

    def _too_large(self) -> LlmError:
        return LlmError(
            f"{self.name} sent more than {MAX_ANSWER_BYTES // 2**20} MiB.",
            "The address may belong to another service: check its base URL.",
            code="llm_bad_output",
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
            return LlmError(
                f"{place} does not know the model or the path (HTTP 404).",
                "Check the model's name and the base URL.",
                code="llm_model_missing",
            )
        if status == 429:
            return LlmError(
                f"{place} is out of quota or asked too often (HTTP 429).",
                "Wait, or raise the quota with the provider.",
                code="llm_rate_limited",
                retry_after_s=retry_after_s(response.headers.get("retry-after")),
            )
        if status == 400 and _REFUSAL_WORDS.search(content):
            return LlmError(
                f"{place} refused what was said (HTTP 400).", "Use another model.", code="llm_refused"
            )
        if _CONTEXT_WORDS.search(content):
            limit = next((int(m[1]) for p in _CONTEXT_LIMITS if (m := p.search(content))), None)
            return LlmError(
                f"The text is longer than {place} can read.",
                "Use a model with a larger context.",
                code="llm_context_overflow",
                context_limit=limit,
            )
        # Some servers report an unknown response_format as an internal error.
        if status in {400, 422, 500} and _FORMAT_WORDS.search(content):
            return LlmError(
                f"{place} does not know this kind of structured answer (HTTP {status}).",
                "Use a server with JSON schema support.",
                code="llm_format_unsupported",
            )
        if status >= 500 or status == 408:
            return LlmError(
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


def _status_of(error: object) -> int:
    code = error.get("code") if isinstance(error, Mapping) else None
    return code if isinstance(code, int) and 400 <= code < 600 else 500
