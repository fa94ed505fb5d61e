"""Reading of audio files that ship with the product; uploads go through the isolated decoder instead."""

from __future__ import annotations

from pathlib import Path

from meeting_assistant.domain.audio import SAMPLE_RATE_HZ


def read_pcm(path: Path) -> bytes:
    """Return a whole file as canonical PCM (16 kHz mono s16le); blocks."""
    import av

    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
    pieces: list[bytes] = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            pieces += [bytes(out.planes[0])[: out.samples * 2] for out in resampler.resample(frame)]
        pieces += [bytes(out.planes[0])[: out.samples * 2] for out in resampler.resample(None)]
    return b"".join(pieces)
