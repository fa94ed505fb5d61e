"""HTTP to targets after a meeting, with every failure named. The only module here that knows httpx.

What a target answers is not repeated, for some echo what they were sent: only short codes of its own are.
"""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from urllib.parse import urlsplit

import httpx
from pydantic import JsonValue

from meeting_assistant.domain.errors import DeliveryError

TIMEOUT_S = 20.0
CONNECT_TIMEOUT_S = 5.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024
LONGEST_RETRY_AFTER_S = 24 * 3600.0
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,59}")
_MAY_HAVE_ARRIVED = frozenset({500, 502, 504})
WITHOUT_A_TIME_S = 60.0
"""To wait when a limit is named and no time: what GitHub asks for."""


@cache
def _trusted() -> ssl.SSLContext:
    """Whom to believe over TLS, also from SSL_CERT_FILE. Shared, for reading the certificates takes long."""
    return httpx.create_ssl_context()


@dataclass(frozen=True, slots=True)
class Answer:
    """Of a target."""

    status: int
    headers: Mapping[str, str]
    text: str

    def json(self) -> JsonValue:
        """None when it is no JSON."""
        try:
            parsed: JsonValue = json.loads(self.text)
        except ValueError:
            return None
        return parsed

    def dig(self, *path: str | int) -> JsonValue:
        """A part of its JSON; None when there is none."""
        found = self.json()
        for step in path:
            if isinstance(found, dict) and isinstance(step, str):
                found = found.get(step)
            elif isinstance(found, list) and isinstance(step, int) and len(found) > step:
                found = found[step]
            else:
                return None
        return found


Explain = Callable[[Answer], str]


class HttpTarget:
    """A server and the headers that it wants. One client, whose connections are kept open between deliveries."""

    def __init__(
        self,
        title: str,
        headers: Mapping[str, str] | None = None,
        *,
        auth: tuple[str, str] | None = None,
        explain: Explain = lambda answer: "",
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """`explain` finds short codes in a refusal that help to mend it."""
        self.title = title
        self._headers = {"User-Agent": "meeting-assistant", **(headers or {})}
        self._auth = auth
        self._explain = explain
        self._timeout = httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s))
        self._client: httpx.AsyncClient | None = None

    async def send(
        self,
        method: str,
        url: str,
        *,
        body: JsonValue = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        accept: frozenset[int] = frozenset(),
    ) -> Answer:
        """Redirects are not followed. Raises DeliveryError for every status but 2xx and those in `accept`."""
        with self._named_errors():
            async with self._open().stream(
                method, url, json=body, content=content, headers=headers
            ) as response:
                answer = Answer(response.status_code, response.headers, await self._read(response))
        if response.is_success or answer.status in accept:
            return answer
        raise self.refusal(answer)

    async def close(self) -> None:
        """Idempotent."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                headers=self._headers, auth=self._auth, timeout=self._timeout, verify=_trusted()
            )
        return self._client

    async def _read(self, response: httpx.Response) -> str:
        pieces = bytearray()
        async for piece in response.aiter_bytes():
            pieces += piece
            if len(pieces) > MAX_ANSWER_BYTES:
                raise self.bad_answer("far too long")
        return pieces.decode(errors="replace")

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise DeliveryError(
                f"{self.title} cannot be reached.",
                "Check its address, and whether this machine may reach it.",
                code="delivery_unreachable",
                retryable=True,
            ) from error
        except httpx.TimeoutException as error:
            raise DeliveryError(
                f"{self.title} did not answer in time.",
                "It is tried again.",
                code="delivery_timeout",
                retryable=True,
                is_uncertain=True,
            ) from error
        except httpx.InvalidURL as error:
            raise DeliveryError(
                f"The address of {self.title} is none.", "Correct it in the settings."
            ) from error
        except httpx.TransportError as error:
            raise DeliveryError(
                f"The connection to {self.title} was cut.",
                "It is tried again.",
                code="delivery_unreachable",
                retryable=True,
                is_uncertain=True,
            ) from error

    def refusal(self, answer: Answer) -> DeliveryError:
        """The error for an answer that says no."""
        status, said = answer.status, self._explain(answer)
        because = f"HTTP {status}, {said}" if said else f"HTTP {status}"
        if status in {429, 503} or (status == 403 and _is_limit(answer.headers)):
            return DeliveryError(
                f"{self.title} asks to wait ({because}).",
                "It is tried again.",
                code="delivery_rate_limited",
                retryable=True,
                retry_after_s=_retry_after(answer.headers),
            )
        if status in {408, 409, 425} or status >= 500:
            return DeliveryError(
                f"{self.title} failed ({because}).",
                "It is tried again.",
                code="delivery_server_error",
                retryable=True,
                retry_after_s=_retry_after(answer.headers),
                is_uncertain=status in _MAY_HAVE_ARRIVED,
            )
        if status in {401, 403}:
            return DeliveryError(
                f"{self.title} refused who we are ({because}).",
                "Check the token or password in its settings, and what it may do.",
                code="delivery_auth",
            )
        if status == 404:
            return DeliveryError(
                f"{self.title} does not know the place ({because}).",
                "Check the address and the name of project, channel or calendar in its settings.",
                code="delivery_missing",
            )
        if status == 410:
            return DeliveryError(
                f"{self.title} says that the place is gone for good ({because}).",
                "Make a new webhook or channel, and put it into the settings.",
                code="delivery_gone",
            )
        if 300 <= status < 400:
            return DeliveryError(
                f"{self.title} points to another address ({because}), which is not followed.",
                "Put the right address into its settings.",
                code="delivery_rejected",
            )
        return DeliveryError(
            f"{self.title} refused what it was given ({because}).",
            "Check its settings: required fields, names of people, labels.",
            code="delivery_rejected",
        )

    def bad_answer(self, what: str) -> DeliveryError:
        """It said yes in a way that is not understood: it may well have taken it."""
        return DeliveryError(
            f"{self.title} answered something unexpected: {what}.",
            "The address may belong to another service: check its settings.",
            code="delivery_bad_answer",
            retryable=True,
            is_uncertain=True,
        )


def code_in(text: object) -> str:
    """A short code such as `invalid_blocks`; empty for anything that could be somebody's words."""
    return text.strip() if isinstance(text, str) and _CODE.fullmatch(text.strip()) else ""


def codes_in(texts: object) -> str:
    """Several of them."""
    return ", ".join(filter(None, map(code_in, texts))) if isinstance(texts, list | tuple | dict) else ""


def https_or_none(url: object) -> str | None:
    """A link that may be shown: what a target answers is not trusted to be one."""
    if not isinstance(url, str) or len(url) > 2000:
        return None
    return url if urlsplit(url).scheme in {"http", "https"} else None


def _is_limit(headers: Mapping[str, str]) -> bool:
    """True for a 403 that says "not now" and not "not you", as GitHub's do."""
    return _is_spent(headers) or bool(headers.get("retry-after", "").strip())


def _is_spent(headers: Mapping[str, str]) -> bool:
    return headers.get("x-ratelimit-remaining", "").strip() == "0"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """RFC 9110: seconds, or a date. Without it, when a quota that is used up begins anew (GitHub, Jira)."""
    said = headers.get("retry-after", "").strip()
    if said.isdecimal():
        return _bounded(float(said))
    try:
        return _bounded(parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, TypeError):
        pass
    if not _is_spent(headers):
        return None
    reset = headers.get("x-ratelimit-reset", "").strip()
    return _bounded(float(reset) - time.time()) if reset.isdecimal() else WITHOUT_A_TIME_S


def _bounded(wait_s: float) -> float:
    return min(max(0.0, wait_s), LONGEST_RETRY_AFTER_S)
