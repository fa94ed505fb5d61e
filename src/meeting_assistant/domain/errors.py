"""All errors that the product raises on purpose.

    MeetingAssistantError
    ├── ConfigurationError          a setting is wrong; the server does not start
    ├── InputError                  what a client sent cannot be used
    │   ├── ProtocolViolationError  a message of the live protocol in the wrong place or shape
    │   ├── AudioFormatError        audio that cannot be read
    │   ├── TooLargeError           beyond a limit that the message names
    │   └── RangeNotSatisfiableError a byte range that begins after the end
    ├── UnauthenticatedError        no token, or an unknown one
    ├── ForbiddenError              the token does not allow this
    ├── NotFoundError               no such meeting, utterance, file (or not visible to the caller)
    ├── ConflictError               true now, may be different later (a meeting still running, …)
    ├── MeetingRefusedError         the server closed a meeting to this client
    ├── OverloadedError             refused to protect running meetings; try again
    ├── EngineError                 a speech engine failed
    │   └── EngineNotInstalledError its package is missing
    ├── JobError                    a job that this machine must not run
    ├── LlmError                    a language model gave no usable answer
    ├── BrokerError                 the broker of a fleet cannot be reached
    ├── DeliveryError               an integration could not deliver
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
    """Base of all errors that the product raises on purpose."""

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
    """A client sent something that cannot be used; nothing of it was stored."""

    code = "bad_input"


class ProtocolViolationError(InputError):
    """A message of the live protocol that is unknown, malformed or out of order."""

    code = "protocol_violation"


class AudioFormatError(InputError):
    """Audio that cannot be read: another type of file, an unknown container, an unsupported rate."""

    code = "audio_format"


class TooLargeError(InputError):
    """A limit was exceeded; the message names it and its setting."""

    code = "too_large"


class RangeNotSatisfiableError(InputError):
    """A byte range begins after the end of the recording."""

    code = "range_not_satisfiable"


class UnauthenticatedError(MeetingAssistantError):
    """The request has no token, or an unknown one; the message never says which."""

    code = "unauthenticated"


class ForbiddenError(MeetingAssistantError):
    """The token is known and does not allow this."""

    code = "forbidden"


class NotFoundError(MeetingAssistantError):
    """The thing does not exist, or the caller may not see it."""

    code = "not_found"


class ConflictError(MeetingAssistantError):
    """The request is valid, but not in the present state."""

    code = "conflict"


class MeetingRefusedError(MeetingAssistantError):
    """The server closed the meeting to this client, which raises the error that the server sent."""

    code = "refused"


class OverloadedError(MeetingAssistantError):
    """The request is refused before meetings that were accepted suffer."""

    code = "overloaded"
    retryable = True

    def __init__(self, message: str, remedy: str = "", *, retry_after_s: int = 30) -> None:
        super().__init__(message, remedy)
        self.retry_after_s = retry_after_s


class EngineError(MeetingAssistantError):
    """A speech engine failed on a batch; the audio is stored and can be decoded again."""

    code = "engine"
    retryable = True


class EngineNotInstalledError(EngineError):
    """The engine's package is missing; operators search logs for this wording."""

    code = "engine_not_installed"
    retryable = False

    def __init__(self, package: str, remedy: str) -> None:
        super().__init__(f"ASR error: {package} is not installed.", remedy)


class BrokerError(MeetingAssistantError):
    """Redis does not answer, or refuses. Nothing is lost; the operation is retried."""

    code = "carrier"
    retryable = True


class JobError(MeetingAssistantError):
    """A job or a message of the fleet that this machine must not act on.

    Codes: `version_mismatch` (another version of the fleet protocol made it), `job_expired` (its offer is too old),
    `not_authentic` (no machine with the fleet's secret made it, or it was altered).
    """

    code = "version_mismatch"


class LlmFault(StrEnum):
    """The cause of the failure when a question has no answer."""

    PROVIDER = "provider"
    """The server is away, overloaded or wrongly set up: the next question fails, too."""
    REQUEST = "request"
    """The server is well and could not answer this question."""
    POLICY = "policy"
    """The question was never sent, because it must not leave or could not be recorded."""


class LlmError(MeetingAssistantError):
    """A language model gave no usable answer.

    Codes: `llm_unavailable`, `llm_timeout`, `llm_rate_limited` (these may pass: `retryable`); `llm_auth`,
    `llm_untrusted`, `llm_model_missing`, `llm_rejected`, `llm_format_unsupported`, `llm_context_overflow`,
    `llm_truncated`, `llm_refused`, `llm_bad_output`, `llm_not_recorded`, `llm_kept_local`, `llm_no_provider`,
    `llm_all_failed`.
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
        self.is_silent_cut = False
        """The server read a part and did not say so. `context_limit` is the length of that part; its context window may
        be larger."""
        self.was_sent = was_sent
        """False when certainly nothing of the question reached the server."""
        self.retryable = self.code in {"llm_unavailable", "llm_timeout", "llm_rate_limited"}
        self.fault = _LLM_FAULTS.get(self.code, LlmFault.PROVIDER)
        self.causes = tuple(causes)
        """Codes of the errors that this one summarises."""
        self.retry_after_s = retry_after_s
        """Pause that the server requested; None when it requested none."""
        self.context_limit = context_limit
        """Context window in tokens, when the server named it."""


_LLM_FAULTS = {
    "llm_context_overflow": LlmFault.REQUEST,
    "llm_truncated": LlmFault.REQUEST,
    "llm_refused": LlmFault.REQUEST,
    "llm_bad_output": LlmFault.REQUEST,
    "llm_not_recorded": LlmFault.POLICY,
    "llm_kept_local": LlmFault.POLICY,
}


class DeliveryError(MeetingAssistantError):
    """An integration could not deliver.

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
        """Pause that the target requested; None when it requested none."""
        self.is_uncertain = is_uncertain
        """True when the target may have received the delivery all the same."""


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
