"""HTTP to other machines: the clients that everything here is sent with. The only module that knows httpx.

Every way in which an exchange can fail has a name (`net/failures.py`), and the caller says which error it raises for
it. Whether a proxy is used is one rule for all (`net/routes.py`). Answers are read up to a limit: an address may belong
to a service that sends without end.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache

import httpx
from httpx_sse import EventSource

from meeting_assistant.net.failures import (
    HttpErrors,
    HttpFailure,
    HttpProblem,
    proxy_problem,
    tls_error_in,
    tls_problem,
)
from meeting_assistant.net.responses import HttpResponse
from meeting_assistant.net.routes import Route, route_to

CONNECT_TIMEOUT_S = 5.0
MAX_ANSWER_BYTES = 8 * 1024 * 1024


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

        `uses_proxies`: False reaches every address directly, whatever the environment says.
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

        `deadline_s` limits the whole exchange. Raises what `errors` returns.
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

        Raises what `refusal` makes of an answer that is no success, and what `errors` returns, half-way too.
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
                if response.headers.get("content-type", "").startswith("application/json"):
                    # A server that does not stream.
                    async with asyncio.timeout_at(deadline):
                        whole = await self._read(response)
                    yield whole.text
                    return
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
                trust_env=False,
                transport=_RoutedTransport(uses_proxies=self._uses_proxies),
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
                raise self._errors(HttpProblem(HttpFailure.TOO_LARGE))
            yield piece
        yield end


class BlockingHttpClient:
    """A client for code that runs on its own threads; safe for concurrent use."""

    def __init__(
        self, errors: HttpErrors, *, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> None:
        self._errors = errors
        self._client = httpx.Client(
            headers=headers,
            timeout=_timeout(timeout_s),
            trust_env=False,
            transport=_BlockingRoutedTransport(),
        )

    def post_form(
        self, url: str, fields: Mapping[str, str], files: Mapping[str, tuple[str, bytes, str]]
    ) -> HttpResponse:
        """Send a form with files (name, content, media type) and return the answer, whatever its status.

        Raises what `errors` returns.
        """
        content = bytearray()
        with (
            _named_failures(self._errors),
            self._client.stream("POST", url, data=fields, files=files) as response,
        ):
            for piece in response.iter_bytes():
                content += piece
                if len(content) > MAX_ANSWER_BYTES:
                    raise self._errors(HttpProblem(HttpFailure.TOO_LARGE))
            return _response(response, bytes(content))

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


@contextmanager
def _named_failures(errors: HttpErrors) -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        problem = _problem_of(error)
        if problem is None:
            raise
        raise errors(problem) from error


def _timeout(timeout_s: float) -> httpx.Timeout:
    return httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s))


def _response(response: httpx.Response, content: bytes) -> HttpResponse:
    return HttpResponse(response.status_code, response.headers, content.decode("utf-8", errors="replace"))


# --- transports

_INTERNAL = Route(None, "it belongs to the fleet")


def trusted_certificates() -> ssl.SSLContext:
    """Return the context that decides which servers are trusted over TLS.

    Trusted are the usual authorities, those that the operating system trusts, and those in the file that
    `SSL_CERT_FILE` names (`SSL_CERT_DIR`: in the files of a folder). It is shared, because reading the certificates
    takes long.
    """
    paths = ssl.get_default_verify_paths()
    return _trusted(paths.cafile, paths.capath)


@lru_cache(maxsize=2)
def _trusted(file: str | None, folder: str | None) -> ssl.SSLContext:
    """Make the context. OpenSSL finds file and folder itself; they are given so that another one is noticed."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context


class _RoutedTransport(httpx.AsyncBaseTransport):
    """Sends each request the way that `route_to` says. Connections are kept for each proxy."""

    def __init__(self, *, uses_proxies: bool) -> None:
        self._uses_proxies = uses_proxies
        self._by_proxy: dict[str | None, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request. A proxy that fails is an httpx.ProxyError, whatever went wrong with it."""
        route = _choose(request, uses_proxies=self._uses_proxies)
        transport = self._by_proxy.get(route.proxy)
        if transport is None:
            proxy = _proxy_of(route, request)
            transport = httpx.AsyncHTTPTransport(verify=trusted_certificates(), proxy=proxy)
            self._by_proxy[route.proxy] = transport
        try:
            response = await transport.handle_async_request(request)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            _raise_if_of_proxy(error, route, request)
            raise
        if _is_refused_by_proxy(response, route):
            await response.aclose()
            raise httpx.ProxyError("the proxy wants a password", request=request)
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        for transport in self._by_proxy.values():
            await transport.aclose()


class _BlockingRoutedTransport(httpx.BaseTransport):
    """The same for code on threads of its own; safe for concurrent use."""

    def __init__(self) -> None:
        self._by_proxy: dict[str | None, httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request. A proxy that fails is an httpx.ProxyError, whatever went wrong with it."""
        route = _choose(request, uses_proxies=True)
        transport = self._by_proxy.get(route.proxy)
        if transport is None:
            proxy = _proxy_of(route, request)
            made = httpx.HTTPTransport(verify=trusted_certificates(), proxy=proxy)
            transport = self._by_proxy.setdefault(route.proxy, made)
        try:
            response = transport.handle_request(request)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            _raise_if_of_proxy(error, route, request)
            raise
        if _is_refused_by_proxy(response, route):
            response.close()
            raise httpx.ProxyError("the proxy wants a password", request=request)
        return response

    def close(self) -> None:
        """Close all connections."""
        for transport in self._by_proxy.values():
            transport.close()


def _choose(request: httpx.Request, *, uses_proxies: bool) -> Route:
    """Return the route of a request, and note it there for whoever explains a failure."""
    route = route_to(str(request.url)) if uses_proxies else _INTERNAL
    request.extensions = {**request.extensions, "route": route}
    return route


def _proxy_of(route: Route, request: httpx.Request) -> httpx.Proxy | None:
    if route.proxy is None:
        return None
    if not route.is_usable:
        raise httpx.ProxyError("the proxy's address or protocol is unknown", request=request)
    is_safe = route.proxy.startswith("https:")
    return httpx.Proxy(route.proxy, ssl_context=trusted_certificates() if is_safe else None)


def _raise_if_of_proxy(error: httpx.TransportError, route: Route, request: httpx.Request) -> None:
    """Raise httpx.ProxyError when the connection that failed was one to a proxy."""
    if route.proxy is not None and tls_error_in(error) is None:
        raise httpx.ProxyError("the proxy cannot be reached", request=request) from error


def _is_refused_by_proxy(response: httpx.Response, route: Route) -> bool:
    return route.proxy is not None and response.status_code == httpx.codes.PROXY_AUTHENTICATION_REQUIRED


def _problem_of(error: Exception) -> HttpProblem | None:
    """Return the problem that an exception of the library, or a timeout, stands for; None for any other."""
    match error:
        case httpx.InvalidURL() | httpx.UnsupportedProtocol():
            return HttpProblem(HttpFailure.BAD_ADDRESS)
        case httpx.ProxyError():
            route = error.request.extensions["route"]
            return proxy_problem(route)
        case httpx.ConnectError() | httpx.ConnectTimeout() | httpx.PoolTimeout():
            tls_error = tls_error_in(error)
            return HttpProblem(HttpFailure.UNREACHABLE) if tls_error is None else tls_problem(tls_error)
        case TimeoutError() | httpx.TimeoutException():
            return HttpProblem(HttpFailure.TIMED_OUT)
        case httpx.TransportError():
            return HttpProblem(HttpFailure.INTERRUPTED)
        case httpx.RequestError():
            return HttpProblem(HttpFailure.UNREADABLE)
    return None
