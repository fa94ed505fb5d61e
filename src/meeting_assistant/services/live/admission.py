"""Decide whether one more meeting may begin. Each refusal is a sentence for the user who asked."""

from __future__ import annotations

from collections.abc import Sequence

from meeting_assistant.domain.audio import MAX_INPUT_RATE_HZ, MIN_INPUT_RATE_HZ
from meeting_assistant.domain.errors import AudioFormatError, InputError, OverloadedError
from meeting_assistant.domain.ports import EngineInfo

BUSY_RETRY_S = 30
"""When to try again on a full server: meetings last long, but overload passes."""

MAX_WAITING = 2
"""Meetings of one owner that may wait for their clients however full the machine is."""


def check_format(sample_rate: int, channels: int) -> None:
    """Raise AudioFormatError for a sample rate or a number of channels that is not supported."""
    if channels not in (1, 2):
        raise AudioFormatError(
            f"{channels} channels are not supported.",
            "Send one, or two: the machine's own microphone and the rest.",
        )
    if not MIN_INPUT_RATE_HZ <= sample_rate <= MAX_INPUT_RATE_HZ:
        raise AudioFormatError(
            f"{sample_rate} Hz is not supported.", f"Send {MIN_INPUT_RATE_HZ} to {MAX_INPUT_RATE_HZ} Hz."
        )


def check_language(language: str | None, info: EngineInfo) -> None:
    """Raise InputError when the speech engine does not know the language."""
    if language is None or not info.languages or language.partition("-")[0].lower() in info.languages:
        return
    raise InputError(
        f"The speech engine {info.model} does not know the language {language!r}.",
        f"Use one of: {', '.join(info.languages)}; or leave the language out.",
        code="language_unsupported",
    )


def check_room(owners: Sequence[str], *, owner: str, has_room: bool, max_of_owner: int | None) -> None:
    """Raise OverloadedError when the machine, or this owner, records as many meetings as it may.

    `owners` has one entry for each meeting that is recording.
    """
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


def check_waiting(waiting: int, *, more: int) -> None:
    """Raise OverloadedError when too many of an owner's meetings wait for clients that went away.

    Two always may. Beyond that they may not outnumber the places that are left (`more`): who opens meetings and drops
    them cannot take more than half of the machine from everybody else.
    """
    if waiting >= MAX_WAITING and waiting >= more:
        raise OverloadedError(
            f"{waiting} of your meetings wait for their clients, and {more} places are left.",
            "Go on with one of them, or stop it.",
            retry_after_s=BUSY_RETRY_S,
        )
