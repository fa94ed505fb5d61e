"""May one more meeting begin? Each check is a sentence for the person who wanted it."""

from __future__ import annotations

from collections.abc import Sequence

from meeting_assistant.domain.audio import MAX_INPUT_RATE_HZ, MIN_INPUT_RATE_HZ
from meeting_assistant.domain.errors import AudioFormatError, OverloadedError

BUSY_RETRY_S = 30
"""When to try again on a full server: meetings last long, but overload passes."""


def check_format(sample_rate: int, channels: int) -> None:
    """Raises AudioFormatError."""
    if channels not in (1, 2):
        raise AudioFormatError(
            f"{channels} channels are not supported.",
            "Send one, or two: the machine's own microphone and the rest.",
        )
    if not MIN_INPUT_RATE_HZ <= sample_rate <= MAX_INPUT_RATE_HZ:
        raise AudioFormatError(
            f"{sample_rate} Hz is not supported.", f"Send {MIN_INPUT_RATE_HZ} to {MAX_INPUT_RATE_HZ} Hz."
        )


def check_room(owners: Sequence[str], *, owner: str, has_room: bool, max_of_owner: int | None) -> None:
    """`owners`: of the meetings that record. Raises OverloadedError."""
    if not has_room:
        raise OverloadedError(
            f"{len(owners)} meetings are recording, which is as many as this machine holds now.",
            "Try again when one has ended; the limit is measured, MAX_SESSIONS sets another one.",
            retry_after_s=BUSY_RETRY_S,
        )
    own = sum(1 for other in owners if other == owner)
    if max_of_owner is not None and own >= max_of_owner:
        raise OverloadedError(
            f"{own} of your meetings are recording, which is the limit.",
            "Stop one of them, or raise CLIENT_LIMITS__SESSIONS_PER_OWNER.",
            retry_after_s=BUSY_RETRY_S,
        )
