"""Decoding of finished utterances: again when the engine failed, and at a higher temperature when the text is poor."""

from __future__ import annotations

from dataclasses import replace

from meeting_assistant import observability as obs
from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.ports import AsrRequest
from meeting_assistant.services.asr.asr_service import AsrService, Decoded
from meeting_assistant.services.asr.batching import TicketKind
from meeting_assistant.services.asr.hallucination_filters import passes_quality_checks


async def decode_with_temperature_fallback(
    asr: AsrService, kind: TicketKind, request: AsrRequest
) -> Decoded | None:
    """Return the first result that passes the quality checks, or else the likeliest one. Raises EngineError.

    Raising the temperature step by step is the method of Radford et al. (2022), section 4.5. Each step is a ticket of
    its own, so that a difficult window does not delay others.
    """
    best: Decoded | None = None
    for temperature in asr.info.temperatures:
        decoded = await _decode_with_retry(asr, kind, replace(request, temperature=temperature))
        if decoded is None or passes_quality_checks(decoded.result):
            return decoded
        obs.decoding_fallbacks_total.inc()
        if best is None or (decoded.result.mean_logprob or 0.0) > (best.result.mean_logprob or 0.0):
            best = decoded
    return best


async def _decode_with_retry(asr: AsrService, kind: TicketKind, request: AsrRequest) -> Decoded | None:
    try:
        return await asr.decode(kind, request.session, lambda: request)
    except EngineError:
        # A transient fault (memory, a device that resets) must not cost words.
        return await asr.decode(kind, request.session, lambda: request)
