"""JSON over HTTP to a language model's server, with every failure named.

Nothing that a server answers is repeated in an error: some echo the prompt, which is what was said in a meeting.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from functools import cache
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx

from meeting_assistant.domain.errors import LlmError

CONNECT_TIMEOUT_S = 5.0
LOOK_TIMEOUT_S = 10.0
"""For what a server knows without thinking: which models it has."""
MAX_ANSWER_BYTES = 8 * 1024 * 1024

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


_INSIDE_NAMES = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".intranet")


@cache
def _trusted() -> ssl.SSLContext:
    """Whom to believe over TLS, also from SSL_CERT_FILE. Shared, for reading the certificates takes long."""
    return httpx.create_ssl_context()


class JsonHttp:
    """A server and the headers that it wants. Connections are kept open between calls."""

    def __init__(self, name: str, base_url: str, headers: Mapping[str, str], *, timeout_s: float) -> None:
        self.name = name
        self.address = _address(base_url)
        """Scheme, host and port: safe to show, with neither a path nor credentials."""
        self.is_loopback = is_loopback(base_url)
        self._is_inside = is_inside(base_url)
        # What is packed small may be gigabytes; nobody packs answers of a few kilobytes.
        self._headers = {"Accept-Encoding": "identity", **headers}
        self._timeout_s = timeout_s
        self._timeout = httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s))
        self._client: httpx.AsyncClient | None = None

    async def post(self, url: str, body: Mapping[str, object]) -> Mapping[str, object]:
        """Send a JSON object, get one back, all within the timeout. Raises LlmError."""
        return await self._send("POST", url, body, self._timeout_s)

    async def get(self, url: str) -> Mapping[str, object]:
        """Fetch a JSON object. Raises LlmError."""
        return await self._send("GET", url, None, min(LOOK_TIMEOUT_S, self._timeout_s))

    async def events(self, url: str, body: Mapping[str, object]) -> AsyncIterator[Mapping[str, object]]:
        """Send a JSON object, get objects as server-sent events to their end, all within the timeout. Raises LlmError,
        half-way too."""
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        with self._named_errors():
            client = self._open()
            async with asyncio.timeout_at(deadline):
                response = await client.send(client.build_request("POST", url, json=body), stream=True)
            try:
                if not response.is_success:
                    async with asyncio.timeout_at(deadline):
                        content = await _read(response, self.name)
                    raise self._refusal(response.status_code, response.headers, content)
                lines = _lines(response, self.name)
                while True:
                    # Not around the `yield`: what the reader does there has its own time.
                    async with asyncio.timeout_at(deadline):
                        line = await anext(lines, None)
                    if line is None:
                        return
                    data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
                    if not data or data == "[DONE]":
                        continue
                    event = self._parse(data)
                    if event.get("error"):
                        # The status was sent before the failure.
                        raise self._refusal(_status_of(event["error"]), response.headers, data)
                    yield event
            finally:
                await response.aclose()

    async def close(self) -> None:
        """Idempotent."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _send(
        self, method: str, url: str, body: Mapping[str, object] | None, timeout_s: float
    ) -> Mapping[str, object]:
        with self._named_errors():
            async with asyncio.timeout(timeout_s), self._open().stream(method, url, json=body) as response:
                content = await _read(response, self.name)
        if response.is_success:
            return self._parse(content)
        raise self._refusal(response.status_code, response.headers, content)

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            # A proxy named in the environment has no business with a server of one's own.
            self._client = httpx.AsyncClient(
                headers=self._headers,
                timeout=self._timeout,
                trust_env=not self._is_inside,
                verify=_trusted(),
            )
        return self._client

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except (
            httpx.ConnectError,
            httpx.ConnectTimeout,
            httpx.UnsupportedProtocol,
            httpx.InvalidURL,
        ) as error:
            raise self._unreachable(was_sent=False) from error
        except (TimeoutError, httpx.TimeoutException) as error:
            raise LlmError(
                f"{self.name} at {self.address} did not answer in time.",
                "Raise LLM_TIMEOUT_SECONDS, or use a smaller model.",
                code="llm_timeout",
            ) from error
        except httpx.TransportError as error:
            raise self._unreachable() from error
        except httpx.RequestError as error:
            raise self._not_json() from error  # packed in a way that cannot be unpacked

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

    def _refusal(self, status: int, headers: httpx.Headers, content: str) -> LlmError:
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
                retry_after_s=_seconds(headers.get("retry-after")),
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
                retry_after_s=_seconds(headers.get("retry-after")),
            )
        return LlmError(
            f"{place} rejected the request (HTTP {status}).",
            "Check the model's name and what the server supports.",
            code="llm_rejected",
        )


async def _read(response: httpx.Response, name: str) -> str:
    content = bytearray()
    async for piece in response.aiter_bytes():
        content += piece
        if len(content) > MAX_ANSWER_BYTES:
            raise _too_much(name)
    return content.decode("utf-8", errors="replace")


async def _lines(response: httpx.Response, name: str) -> AsyncIterator[str]:
    """As they come; the whole is held to the same size as an answer in one piece."""
    rest = bytearray()
    total = 0
    async for piece in response.aiter_bytes():
        total += len(piece)
        if total > MAX_ANSWER_BYTES:
            raise _too_much(name)
        rest += piece
        if b"\n" not in piece:
            continue
        *whole, rest = rest.split(b"\n")
        for line in whole:
            yield line.decode("utf-8", errors="replace").rstrip("\r")
    yield rest.decode("utf-8", errors="replace")


def _too_much(name: str) -> LlmError:
    return LlmError(
        f"{name} sent more than {MAX_ANSWER_BYTES // 2**20} MiB.",
        "The address may belong to another service: check its base URL.",
        code="llm_bad_output",
    )


def _seconds(value: str | None) -> float | None:
    """`Retry-After` is a number of seconds or a date (RFC 9110, section 10.2.3)."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return None if math.isnan(seconds) else max(0.0, seconds)


def _status_of(error: object) -> int:
    code = error.get("code") if isinstance(error, Mapping) else None
    return code if isinstance(code, int) and 400 <= code < 600 else 500


def _address(url: str) -> str:
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}"


def is_inside(url: str) -> bool:
    """True when the address is this machine or one of a private network: an address of such a network, or a name that
    only such a network resolves (without a dot, or one of the endings that are reserved for it)."""
    host = (urlsplit(url).hostname or "").rstrip(".").lower()
    try:
        address = ip_address(host)
    except ValueError:
        return bool(host) and ("." not in host or host.endswith(_INSIDE_NAMES))
    return not address.is_unspecified and (address.is_private or address.is_link_local)


def is_loopback(url: str) -> bool:
    """True when the address is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
