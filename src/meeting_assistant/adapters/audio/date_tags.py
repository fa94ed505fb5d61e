"""The tags of a media file that say when it was recorded, read by the child process that opens it."""

from __future__ import annotations

from typing import Any

NAMES = frozenset(
    {
        "com.apple.quicktime.creationdate",
        "creation_time",
        "date",
        "date_recorded",
        "icrd",
        "origination_date",
        "origination_time",
        "tdrc",
    }
)
MAX_CHARS = 64


def date_tags(container: Any, stream: Any) -> dict[str, str]:
    """Return these tags of the container, and those of the audio stream that the container lacks (as in Ogg)."""
    tags: dict[str, str] = {}
    for source in (container.metadata, stream.metadata):
        for name, value in source.items():
            if name.lower() in NAMES and len(value) <= MAX_CHARS:
                tags.setdefault(name.lower(), value)
    return tags
