"""Every failure the product can name.

    MeetingAssistantError
    ├── ConfigurationError          a setting is wrong; the server does not start
    ├── InputError                  what a client sent cannot be used
    │   ├── ProtocolViolationError  a message of the live protocol in the wrong place or shape
    │   ├── AudioFormatError        sound that cannot be read
    │   ├── TooLargeError           beyond a limit that the message names
    │   └── RangeNotSatisfiableError a byte range that begins after the end
    ├── UnauthenticatedError        no token, or one that nobody has
    ├── ForbiddenError              the token does not allow this
    ├── NotFoundError               no such meeting, utterance, file (or not yours to see)
    ├── ConflictError               true now, may be different later (a meeting still running, …)
    ├── MeetingRefusedError         the server closed a meeting to this client
    ├── OverloadedError             refused so that what runs keeps its promise; try again
    ├── EngineError                 a speech engine failed
    │   └── EngineNotInstalledError its package is missing
    ├── JobError                    a job that this machine must not do
    ├── LlmError                    a language model did not give a usable answer
    ├── BrokerError                 what carries jobs between the machines of a fleet is out of reach
    ├── DeliveryError               a target after the meeting did not take what it was given
    ├── AudioDecryptionError        no key opens this recording
    └── StorageError                disk or database

Each carries four things: `code` for machines, `message` for people, `remedy` (what to do about it) and
`retryable`. `web/errors.py` is the only place that turns one into an HTTP status or a close code.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

__all__ = [
    "AudioDecryptionError",
    "AudioFormatError",
    "BrokerError",
    "ConfigurationError",
    "ConflictError",
    "DeliveryError",
    "EngineError",
    "EngineNotInstalledError",
    "ForbiddenError",
    "InputError",
    "JobError",
    "LlmError",
    "LlmFault",
    "MeetingAssistantError",
    "MeetingRefusedError",
    "NotFoundError",
    "OverloadedError",
    "ProtocolViolationError",
    "RangeNotSatisfiableError",
    "StorageError",
    "TooLargeError",
    "UnauthenticatedError",
]


class MeetingAssistantError(Exception):
    """The base: catch this to catch everything that the product raises on purpose."""

    code = "internal_error"
    """Stable, snake_case, for machines."""
    retryable = False
    """True when the same call may succeed later without any change."""

    def __init__(self, message: str, remedy: str = "", *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        """One sentence: what is wrong. Never holds speech, keys or file contents."""
        self.remedy = remedy
        """One sentence: what to do about it."""
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class ConfigurationError(MeetingAssistantError):
    """A setting is wrong or contradicts another; names the variable, the value, what is allowed."""

    code = "configuration"


class InputError(MeetingAssistantError):
    """What a client sent cannot be used; nothing of it was stored."""

    code = "bad_input"


class ProtocolViolationError(InputError):
    """A message of the live protocol that is unknown, malformed or out of order."""

    code = "protocol_violation"


class AudioFormatError(InputError):
    """Sound that cannot be read: not audio, an unknown container, an unsupported rate."""

    code = "audio_format"


class TooLargeError(InputError):
    """Beyond a limit; the message names the limit and its setting."""

    code = "too_large"


class RangeNotSatisfiableError(InputError):
    """A byte range begins after the end of the recording."""

    code = "range_not_satisfiable"


class UnauthenticatedError(MeetingAssistantError):
    """No token came with the request, or one that is not known; never says which."""

    code = "unauthenticated"


class ForbiddenError(MeetingAssistantError):
    """The token is known and does not allow this."""

    code = "forbidden"


class NotFoundError(MeetingAssistantError):
    """No such thing, or none that the caller may see."""

    code = "not_found"


class ConflictError(MeetingAssistantError):
    """The request is right and the moment is wrong."""

    code = "conflict"


class MeetingRefusedError(MeetingAssistantError):
    """The server closed the meeting to this client, which raises the error that the server sent."""

    code = "refused"


class OverloadedError(MeetingAssistantError):
    """Refused before accepted meetings suffer."""

    code = "overloaded"
    retryable = True

    def __init__(self, message: str, remedy: str = "", *, retry_after_s: int = 30) -> None:
        super().__init__(message, remedy)
        self.retry_after_s = retry_after_s


class EngineError(MeetingAssistantError):
    """A speech engine failed on a batch; the sound is stored and can be tried again."""

    code = "engine"
    retryable = True


class EngineNotInstalledError(EngineError):
    """The engine's package is missing; operators search logs for this wording."""

    code = "engine_not_installed"
    retryable = False

    def __init__(self, package: str, remedy: str) -> None:
        super().__init__(f"ASR error: {package} is not installed.", remedy)


class BrokerError(MeetingAssistantError):
    """Redis does not answer, or refuses; nothing is lost, and it is tried again."""

    code = "carrier"
    retryable = True


class JobError(MeetingAssistantError):
    """A job or a message of the fleet that this machine must not act on.

    Codes: `version_mismatch` (another version of the fleet protocol made it), `job_expired` (its offer is too old).
    """

    code = "version_mismatch"


class LlmFault(StrEnum):
    """Whose fault it is that a question has no answer."""

    PROVIDER = "provider"
    """The server is away, overloaded or wrongly set up: the next question fails, too."""
    REQUEST = "request"
    """The server is well and could not answer this question."""
    POLICY = "policy"
    """The question was never sent, because it must not leave or could not be recorded."""


class LlmError(MeetingAssistantError):
    """A language model did not give a usable answer.

    Codes: `llm_unavailable`, `llm_timeout`, `llm_rate_limited` (these may pass: `retryable`); `llm_auth`,
    `llm_model_missing`, `llm_rejected`, `llm_format_unsupported`, `llm_context_overflow`, `llm_truncated`,
    `llm_refused`, `llm_bad_output`, `llm_not_recorded`, `llm_kept_local`, `llm_no_provider`, `llm_all_failed`.
    """

    code = "llm"

    def __init__(
        self,
        message: str,
        remedy: str = "",
        *,
        code: str | None = None,
        retry_after_s: float | None = None,
        context_limit: int | None = None,
        causes: Sequence[str] = (),
        was_sent: bool = True,
    ) -> None:
        super().__init__(message, remedy, code=code)
        self.was_sent = was_sent
        """False: certainly nothing of the question reached the server."""
        self.retryable = self.code in {"llm_unavailable", "llm_timeout", "llm_rate_limited"}
        self.fault = _LLM_FAULTS.get(self.code, LlmFault.PROVIDER)
        self.causes = tuple(causes)
        """Codes of the failures that it sums up."""
        self.retry_after_s = retry_after_s
        """What the server asked for; None when it did not say."""
        self.context_limit = context_limit
        """Tokens that the model can read, when the server named it."""


_LLM_FAULTS = {
    "llm_context_overflow": LlmFault.REQUEST,
    "llm_truncated": LlmFault.REQUEST,
    "llm_refused": LlmFault.REQUEST,
    "llm_bad_output": LlmFault.REQUEST,
    "llm_not_recorded": LlmFault.POLICY,
    "llm_kept_local": LlmFault.POLICY,
}


class DeliveryError(MeetingAssistantError):
    """A target after the meeting did not take what it was given.

    Codes: `delivery_unreachable`, `delivery_timeout`, `delivery_rate_limited`, `delivery_server_error` (these may pass:
    `retryable`); `delivery_auth`, `delivery_missing`, `delivery_gone`, `delivery_rejected`, `delivery_bad_answer`.
    """

    code = "delivery"

    def __init__(
        self,
        message: str,
        remedy: str = "",
        *,
        code: str | None = None,
        retryable: bool = False,
        retry_after_s: float | None = None,
        is_uncertain: bool = False,
    ) -> None:
        super().__init__(message, remedy, code=code)
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        """What the target asked for; None when it did not say."""
        self.is_uncertain = is_uncertain
        """The target may have taken it all the same."""


class AudioDecryptionError(MeetingAssistantError):
    """No configured key opens this recording; the recording itself is left untouched."""

    code = "audio_decryption"

    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(f"Audio decryption failed: {detail}", remedy)


class StorageError(MeetingAssistantError):
    """The disk, the database or the object store refused.

    Codes: `storage`, `disk_full`, `read_only`, `locked`, `unreachable` (these may pass: `retryable`); `cannot_open`,
    `closing`, `damaged`, `database_newer`, `file_gone`, `key_file`, `sound_gone`, `storage_behind`, and those of the
    object store, which begin with `store_`.
    """

    code = "storage"

    def __init__(self, message: str, remedy: str = "", *, code: str | None = None) -> None:
        super().__init__(message, remedy, code=code)
        self.retryable = self.code in {"storage", "disk_full", "read_only", "locked", "unreachable"}
