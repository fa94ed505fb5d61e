"""The child process that decodes an uploaded file: `python -I -m … probe|decode MAX_SECONDS`.

The file is its standard input. It knows no path, has an empty working directory and tight limits. Containers that
refer to other files (concat, HLS, DASH, image lists) are not accepted, because a 55-byte file of that kind reads any
file that it names. Canonical PCM goes to standard output, one JSON line (a description or an error) to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

SAMPLE_RATE_HZ = 16_000
CONTAINERS = (
    "wav,w64,rf64,aiff,au,caf,flac,mp3,aac,ogg,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,amr,asf,avi,mpegts,mpeg,wv,ape,tta,"
    "ac3,eac3"
)
OPTIONS = {
    "format_whitelist": CONTAINERS,
    "protocol_whitelist": "pipe",
    "enable_drefs": "0",
    "use_absolute_path": "0",
}
MAX_BAD_PACKETS = 1000


class NotSoundError(Exception):
    """The file cannot be decoded; the message is the code for the parent."""


def main() -> None:
    """Run the child; exit code 0 with the audio, 3 with a reason."""
    mode, max_seconds, memory, cpu = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    import av

    _limit(memory, cpu)
    av.logging.set_level(av.logging.PANIC)
    try:
        with os.fdopen(0, "rb", closefd=False) as source, _open(source) as container:
            stream = _first_audio(container)
            report(info=_info(container, stream))
            if mode == "probe":
                _prove(container, stream)
            else:
                _decode(container, stream, max_seconds)
    except NotSoundError as error:
        report(error=str(error))
        sys.exit(3)
    except (av.FFmpegError, ValueError, OverflowError, MemoryError):
        report(error="not_audio")
        sys.exit(3)


def report(**fields: Any) -> None:
    """Write one JSON line for the parent."""
    sys.stderr.write(json.dumps(fields) + "\n")
    sys.stderr.flush()


def _limit(memory: int, cpu: int) -> None:
    """Set limits where the system has them. Address space counts from what the libraries already take."""
    try:
        import resource
    except ImportError:
        return
    with open("/proc/self/statm") if os.path.exists("/proc/self/statm") else open(os.devnull) as pages:  # noqa: PTH110, PTH123
        taken = int((pages.read().split() or ["0"])[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (taken + memory, taken + memory))
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def _open(source: Any) -> Any:
    import av

    return av.open(source, mode="r", options=OPTIONS, metadata_errors="ignore")


def _first_audio(container: Any) -> Any:
    if not container.streams.audio:
        raise NotSoundError("no_audio_stream")
    stream = container.streams.audio[0]
    stream.thread_type = "NONE"
    return stream


def _info(container: Any, stream: Any) -> dict[str, Any]:
    from meeting_assistant.adapters.audio.date_tags import date_tags

    duration = None
    if stream.duration and stream.time_base:
        duration = float(stream.duration * stream.time_base)
    elif container.duration:
        duration = container.duration / 1_000_000
    return {
        "container": container.format.name,
        "codec": stream.codec_context.name,
        "duration_s": duration if duration and 0 < duration < 1e7 else None,
        "sample_rate_hz": stream.codec_context.sample_rate or 0,
        "channels": stream.codec_context.channels or 0,
        "date_tags": date_tags(container, stream),
    }


def _frames(container: Any, stream: Any) -> Any:
    """Yield decoded frames; damaged packets are skipped, up to a limit."""
    import av

    bad = 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            return  # the file is truncated
        if packet is None:
            return
        try:
            yield from packet.decode()
        except av.FFmpegError:
            bad += 1
            if bad > MAX_BAD_PACKETS:
                raise NotSoundError("too_damaged") from None


def _prove(container: Any, stream: Any) -> None:
    """Decode one frame: a valid header proves nothing."""
    for frame in _frames(container, stream):
        if frame.samples > 0:
            return
    raise NotSoundError("no_sound")


def _decode(container: Any, stream: Any, max_seconds: float) -> None:
    import av

    budget = int(max_seconds * SAMPLE_RATE_HZ) * 2
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
    output = sys.stdout.buffer
    written = 0
    for frame in _and_end(_frames(container, stream)):
        if frame is not None:
            frame.pts = None  # otherwise the resampler fills gaps and jumps of the time stamps
        for piece in resampler.resample(frame):
            pcm = piece.to_ndarray().astype("<i2").tobytes()
            if written + len(pcm) > budget:
                output.flush()
                raise NotSoundError("too_long")
            output.write(pcm)
            written += len(pcm)
    output.flush()
    if written == 0:
        raise NotSoundError("no_sound")


def _and_end(frames: Any) -> Any:
    yield from frames
    yield None


if __name__ == "__main__":
    main()
