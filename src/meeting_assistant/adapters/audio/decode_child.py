"""The child process that decodes an uploaded file: `python -I -m … probe|decode MAX_SECONDS MEMORY CPU`.

The file is its standard input. It knows no path, has an empty working directory and tight limits. Containers that
refer to other files (concat, HLS, DASH, image lists) are not accepted, because a 55-byte file of that kind reads any
file that it names. Canonical PCM goes to standard output; JSON lines go to standard error: a description (`info`), then
stretches that could not be read (`unread`), an error (`error`).
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def main() -> None:
    """Run the child; exit code 0 with the audio, 3 with a reason."""
    mode, max_seconds, memory, cpu = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    import av

    from meeting_assistant.adapters.audio.file_sound import FileSound, NotSoundError

    _limit(memory, cpu)
    av.logging.set_level(av.logging.PANIC)
    sound: FileSound | None = None
    error = None
    try:
        with os.fdopen(0, "rb", buffering=0, closefd=False) as source:
            sound = FileSound(source, max_seconds)
            report(info=sound.describe())
            if mode == "probe":
                sound.prove()
            else:
                _write(sound)
    except NotSoundError as refusal:
        error = str(refusal)
    except (av.FFmpegError, ValueError, OverflowError, MemoryError):
        error = "not_audio"
    for unread in sound.unread if sound is not None and mode == "decode" else []:
        report(unread=[unread.start, unread.end, unread.reason])
    if error is not None:
        report(error=error)
        sys.exit(3)


def report(**fields: Any) -> None:
    """Write one JSON line for the parent."""
    sys.stderr.write(json.dumps(fields) + "\n")
    sys.stderr.flush()


def _write(sound: Any) -> None:
    output = sys.stdout.buffer
    try:
        for pcm in sound.read():
            output.write(pcm.astype("<i2").tobytes())
    finally:
        output.flush()


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


if __name__ == "__main__":
    main()
