"""HTTP to targets after a meeting, with every failure named.

What a target answers is not repeated, for some echo what they were sent: only short codes of its own are.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from pydantic import JsonValue

from meeting_assistant.domain.errors import DeliveryError
from meeting_assistant.net.failures import HttpFailure, HttpProblem
from meeting_assistant.net.http import HttpClient
from meeting_assistant.net.responses import HttpResponse
from meeting_assistant.net.retry_after import retry_after_s

TIMEOUT_S = 20.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024
LONGEST_RETRY_AFTER_S = 24 * 3600.0
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,59}")
_MAY_HAVE_ARRIVED = frozenset({500, 502, 504})
UNSPECIFIED_WAIT_S = 60.0
"""Where a limit is reported without a time: what GitHub asks for."""


Explain = Callable[[HttpResponse], str]


class HttpTarget:
    """A server and the headers that it wants. One client, whose connections are kept open between deliveries."""

    def __init__(
        self,
        title: str,
        headers: Mapping[str, str] | None = None,
        *,
        auth: tuple[str, str] | None = None,
        explain: Explain = lambda answer: "",
    ) -> None:
        """`explain` finds short codes in a refusal that help to mend it."""
        self.title = title
        self._explain = explain
        self._client = HttpClient(
            self._failed,
            headers={"User-Agent": "meeting-assistant", **(headers or {})},
            auth=auth,
            timeout_s=TIMEOUT_S,
            max_answer_bytes=MAX_ANSWER_BYTES,
        )

    async def send(
        self,
        method: str,
        url: str,
        *,
        body: JsonValue = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        accept: frozenset[int] = frozenset(),
    ) -> HttpResponse:
        """Send a request and return the answer. Redirects are not followed.

        Raises DeliveryError for every status but 2xx and those in `accept`.
        """
        answer = await self._client.request(method, url, body=body, content=content, headers=headers)
        if answer.is_success or answer.status in accept:
            return answer
        raise self.refusal(answer)

    async def close(self) -> None:
        """Close its connections. Idempotent."""
        await self._client.close()

    def _failed(self, problem: HttpProblem) -> DeliveryError:
        """Return the error for an exchange without an answer."""
        match problem.failure:
            case HttpFailure.BAD_ADDRESS:
                return DeliveryError(f"The address of {self.title} is none.", "Correct it in the settings.")
            case HttpFailure.UNREACHABLE:
                return self._unreachable(
                    "cannot be reached", "Check its address, and whether this machine may reach it."
                )
            case HttpFailure.UNTRUSTED | HttpFailure.PROXY_FAILED:
                return self._unreachable(problem.cause, problem.remedy)
            case HttpFailure.TIMED_OUT:
                return DeliveryError(
                    f"{self.title} did not answer in time.",
                    "It is tried again.",
                    code="delivery_timeout",
                    retryable=True,
                    is_uncertain=True,
                )
            case HttpFailure.INTERRUPTED:
                return DeliveryError(
                    f"The connection to {self.title} was cut.",
                    "It is tried again.",
                    code="delivery_unreachable",
                    retryable=True,
                    is_uncertain=True,
                )
            case HttpFailure.UNREADABLE:
                return self.bad_answer("it cannot be unpacked")
            case HttpFailure.TOO_LARGE:
                return self.bad_answer("far too long")

    def _unreachable(self, cause: str, remedy: str) -> DeliveryError:
        return DeliveryError(f"{self.title} {cause}.", remedy, code="delivery_unreachable", retryable=True)

    def refusal(self, answer: HttpResponse) -> DeliveryError:
        """Return the error for an answer that is no success."""
        status, code = answer.status, self._explain(answer)
        because = f"HTTP {status}, {code}" if code else f"HTTP {status}"
        if status in {429, 503} or (status == 403 and _is_limit(answer.headers)):
            return DeliveryError(
                f"{self.title} asks to wait ({because}).",
                "It is tried again.",
                code="delivery_rate_limited",
                retryable=True,
                retry_after_s=_wait_s(answer.headers),
            )
        if status in {408, 409, 425} or status >= 500:
            return DeliveryError(
                f"{self.title} failed ({because}).",
                "It is tried again.",
                code="delivery_server_error",
                retryable=True,
                retry_after_s=_wait_s(answer.headers),
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
        """Return the error for a success that is not understood: the target may have taken the delivery."""
        return DeliveryError(
            f"{self.title} answered something unexpected: {what}.",
            "The address may belong to another service: check its settings.",
            code="delivery_bad_answer",
            retryable=True,
            is_uncertain=True,
        )


def code_in(text: object) -> str:
    """Return a short code such as `invalid_blocks`; empty for anything that could hold a speaker's words."""
    return text.strip() if isinstance(text, str) and _CODE.fullmatch(text.strip()) else ""


def codes_in(texts: object) -> str:
    """Return the short codes among several texts, with commas between."""
    return ", ".join(filter(None, map(code_in, texts))) if isinstance(texts, list | tuple | dict) else ""


def https_or_none(url: object) -> str | None:
    """Return a link that may be shown; None for anything else that a target answers."""
    if not isinstance(url, str) or len(url) > 2000:
        return None
    return url if urlsplit(url).scheme in {"http", "https"} else None


def _is_limit(headers: Mapping[str, str]) -> bool:
    """Return True for a 403 that is a limit and no refusal, as GitHub sends."""
    return _is_spent(headers) or bool(headers.get("retry-after", "").strip())


def _is_spent(headers: Mapping[str, str]) -> bool:
    return headers.get("x-ratelimit-remaining", "").strip() == "0"


def _wait_s(headers: Mapping[str, str]) -> float | None:
    """Return what `Retry-After` asks for; without it, the time until a spent quota is renewed (GitHub, Jira)."""
    asked_s = retry_after_s(headers.get("retry-after"))
    if asked_s is not None:
        return _bounded(asked_s)
    if not _is_spent(headers):
        return None
    reset = headers.get("x-ratelimit-reset", "").strip()
    return _bounded(float(reset) - time.time()) if reset.isdecimal() else UNSPECIFIED_WAIT_S


def _bounded(wait_s: float) -> float:
    return min(max(0.0, wait_s), LONGEST_RETRY_AFTER_S)
