"""HTTP to other machines. The only module that knows httpx.

Every way in which an exchange can fail has a name, and a caller's table says which error it raises for it. Answers are
read up to a limit: an address may belong to a service that sends without end.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any

import httpx
from httpx_sse import EventSource

CONNECT_TIMEOUT_S = 5.0
MAX_ANSWER_BYTES = 8 * 1024 * 1024


class HttpFailure(Enum):
    """Kinds of failure that leave an exchange without a usable answer."""

    BAD_ADDRESS = "bad address"
    """The address is malformed, or of a protocol other than HTTP; nothing was sent."""
    UNREACHABLE = "unreachable"
    """There was no connection; nothing was sent."""
    TIMED_OUT = "timed out"
    """The request may have arrived."""
    INTERRUPTED = "interrupted"
    """The connection was lost; the request may have arrived."""
    UNREADABLE = "unreadable"
    """The answer is compressed in a way that cannot be undone."""
    TOO_LARGE = "too large"


HttpErrors = Mapping[HttpFailure, Callable[[], Exception]]
"""The error to raise for each failure. Nothing that a server sent goes into one: servers echo what they were sent."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    """Case does not matter."""
    text: str

    @property
    def is_success(self) -> bool:
        """True for a status of 200 to 299."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """Return the parsed body; None when it is not JSON."""
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError):
            return None

    def dig(self, *path: str | int) -> object:
        """Return the value at a path of keys and indexes of the JSON body; None where the path ends early."""
        return dig(self.json(), *path)


def dig(data: object, *path: str | int) -> object:
    """Return the value at a path of keys and indexes; None where the path ends early."""
    for step in path:
        if isinstance(step, str) and isinstance(data, Mapping):
            data = data.get(step)
        elif isinstance(step, int) and isinstance(data, Sequence) and not isinstance(data, str):
            data = data[step] if step < len(data) else None
        else:
            return None
    return data


@cache
def trusted_certificates() -> ssl.SSLContext:
    """Return the context that decides which servers are trusted over TLS, also by SSL_CERT_FILE.

    It is shared, because reading the certificates takes long.
    """
    return httpx.create_ssl_context()


class HttpClient:
    """A client for the event loop, whose connections stay open between requests. Redirects are not followed."""

    def __init__(
        self,
        errors: HttpErrors,
        *,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        uses_proxies: bool = True,
    ) -> None:
        """`timeout_s` limits each step of an exchange (connecting, sending, the next piece of an answer).

        `uses_proxies`: whether a proxy that the environment names is used.
        """
        self._errors = errors
        self._timeout = _timeout(timeout_s)
        self._headers = dict(headers or {})
        self._auth = auth
        self._max_answer_bytes = max_answer_bytes
        self._uses_proxies = uses_proxies
        self._client: httpx.AsyncClient | None = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        body: object = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        deadline_s: float | None = None,
    ) -> HttpResponse:
        """Send a JSON `body` or the `content` and return the answer, whatever its status.

        `deadline_s` limits the whole exchange. Raises what the table of errors says.
        """
        with _named_failures(self._errors):
            async with (
                asyncio.timeout(deadline_s),
                self._open().stream(method, url, json=body, content=content, headers=headers) as response,
            ):
                return await self._read(response)

    async def events(
        self, url: str, body: object, *, deadline_s: float, refusal: Callable[[HttpResponse], Exception]
    ) -> AsyncGenerator[str, None]:
        """POST a JSON body and yield the data of each server-sent event until the answer ends.

        Raises what `refusal` makes of an answer that is no success, and what the table of errors says, half-way too.
        """
        deadline = asyncio.get_running_loop().time() + deadline_s
        with _named_failures(self._errors):
            client = self._open()
            async with asyncio.timeout_at(deadline):
                response = await client.send(client.build_request("POST", url, json=body), stream=True)
            try:
                if not response.is_success:
                    async with asyncio.timeout_at(deadline):
                        raise refusal(await self._read(response))
                # Some servers name another content type, and some leave out the empty line after the last event.
                source = EventSource(
                    httpx.Response(
                        200,
                        headers={"content-type": "text/event-stream; charset=utf-8"},
                        content=self._pieces(response, end=b"\n\n"),
                    )
                ).aiter_sse()
                while True:
                    # Not around the `yield`: what the reader does there has its own time.
                    async with asyncio.timeout_at(deadline):
                        event = await anext(source, None)
                    if event is None:
                        return
                    yield event.data
            finally:
                await response.aclose()

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                headers=self._headers,
                auth=self._auth,
                timeout=self._timeout,
                trust_env=self._uses_proxies,
                verify=trusted_certificates(),
            )
        return self._client

    async def _read(self, response: httpx.Response) -> HttpResponse:
        content = b"".join([piece async for piece in self._pieces(response)])
        return _response(response, content)

    async def _pieces(self, response: httpx.Response, *, end: bytes = b"") -> AsyncIterator[bytes]:
        total = 0
        async for piece in response.aiter_bytes():
            total += len(piece)
            if total > self._max_answer_bytes:
                raise self._errors[HttpFailure.TOO_LARGE]()
            yield piece
        yield end


class BlockingHttpClient:
    """A client for code that runs on its own threads; safe for concurrent use."""

    def __init__(
        self, errors: HttpErrors, *, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> None:
        self._errors = errors
        self._client = httpx.Client(
            headers=headers, timeout=_timeout(timeout_s), verify=trusted_certificates()
        )

    def post_form(
        self, url: str, fields: Mapping[str, str], files: Mapping[str, tuple[str, bytes, str]]
    ) -> HttpResponse:
        """Send a form with files (name, content, media type) and return the answer, whatever its status.

        Raises what the table of errors says.
        """
        content = bytearray()
        with (
            _named_failures(self._errors),
            self._client.stream("POST", url, data=fields, files=files) as response,
        ):
            for piece in response.iter_bytes():
                content += piece
                if len(content) > MAX_ANSWER_BYTES:
                    raise self._errors[HttpFailure.TOO_LARGE]()
            return _response(response, bytes(content))

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


def failure_of(error: Exception) -> HttpFailure | None:
    """Return the failure that an exception of the library, or a timeout, stands for; None for any other."""
    match error:
        case httpx.InvalidURL() | httpx.UnsupportedProtocol():
            return HttpFailure.BAD_ADDRESS
        case httpx.ConnectError() | httpx.ConnectTimeout() | httpx.PoolTimeout():
            return HttpFailure.UNREACHABLE
        case TimeoutError() | httpx.TimeoutException():
            return HttpFailure.TIMED_OUT
        case httpx.TransportError():
            return HttpFailure.INTERRUPTED
        case httpx.RequestError():
            return HttpFailure.UNREADABLE
    return None


@contextmanager
def _named_failures(errors: HttpErrors) -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        failure = failure_of(error)
        if failure is None:
            raise
        raise errors[failure]() from error


def _timeout(timeout_s: float) -> httpx.Timeout:
    return httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s))


def _response(response: httpx.Response, content: bytes) -> HttpResponse:
    return HttpResponse(response.status_code, response.headers, content.decode("utf-8", errors="replace"))
