"""Who said it: which engine labels speakers, and what happens when the wished one cannot be had."""

from __future__ import annotations

import logging
from dataclasses import dataclass

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DiarizationChoice:
    """The engine in use, and what the operator should know about it."""

    name: str
    """`embedded` or `off`."""
    notes: tuple[str, ...] = ()


def choose_diarization(wanted: str, *, is_nemo_wanted: bool, engine_has_speakers: bool) -> DiarizationChoice:
    """The wished engine, or the embedded one with a reason: a meeting is never without labels for want of a package.

    The embedded engine labels each utterance by a voice embedding in the same call that decodes it.
    """
    notes: list[str] = []
    if wanted == "off":
        return DiarizationChoice("off")
    wished = "nemo" if is_nemo_wanted else wanted
    if wished != "embedded":
        notes.append(f"Speaker labels by {wished} are not in this version; the embedded engine labels them.")
    if not engine_has_speakers:
        notes.append("The speech engine in use cannot tell speakers apart; utterances have no speaker.")
        return DiarizationChoice("off", tuple(notes))
    if notes:
        logger.warning(
            "Speaker labels fall back to the embedded engine.", extra={"meeting_fields": {"wanted": wished}}
        )
    return DiarizationChoice("embedded", tuple(notes))
