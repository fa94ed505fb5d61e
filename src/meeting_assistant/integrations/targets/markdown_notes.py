"""Markdown files in a folder, one for each meeting: for Obsidian and everything else that reads such folders.

A note that a person has edited is never overwritten. The front matter holds a digest of the rest of the note; one
whose digest does not fit any more is left alone, and the newer text goes into a file of its own.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from meeting_assistant.domain.errors import DeliveryError
from meeting_assistant.domain.text import one_line
from meeting_assistant.domain.workflows import Action, Delivery, Description, MeetingOutcome, Receipt
from meeting_assistant.integrations.options import IntegrationOptions

MAX_NAME = 80
MAX_NAME_BYTES = 200
"""File systems take 255 with the day, the number and the ending."""
MAX_NAMESAKES = 1000
_UNSAFE = re.compile(r'[\\/:*?"<>|#^\[\]\x00-\x1f\x7f]+')
_DIGEST = re.compile(r"^meeting_assistant_digest: ([0-9a-f]{64})\n", re.MULTILINE)
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""What file systems without hard links say (FAT, some shares)."""
_MEETING = re.compile(r"^meeting_assistant_id: (\S+)$", re.MULTILINE)


class MarkdownOptions(IntegrationOptions):
    """A folder: of an Obsidian vault, for example."""

    folder: Path
    """Where notes are written; it must be there."""


class MarkdownIntegration:
    """Implements `Integration`."""

    name = "markdown"
    Options = MarkdownOptions

    def __init__(self, options: MarkdownOptions) -> None:
        self._folder = options.folder.expanduser().absolute()

    def describe(self) -> Description:
        """Return a description that names the folder."""
        return Description("Markdown notes", str(self._folder), is_local=True, is_exactly_once=True)

    def plan(self, outcome: MeetingOutcome) -> list[Action]:
        """Plan one note; none without minutes."""
        if outcome.minutes is None:
            return []
        name = f"{outcome.began:%Y-%m-%d} {_file_name(outcome.title)}".strip()
        return [
            Action(
                key="note",
                title=f"{name}.md",
                payload={"name": name, "front_matter": _front_matter(outcome), "text": outcome.markdown},
            )
        ]

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Writes the note beside what it may not overwrite."""
        payload = delivery.action.payload
        name, head, text = (str(payload[key]) for key in ("name", "front_matter", "text"))
        try:
            path = await asyncio.to_thread(_write, self._folder, name, head, text, delivery.meeting_id)
        except OSError as error:
            raise _refused(self._folder, error) from error
        return Receipt(reference=path.name)

    async def test(self) -> str:
        """Writes a file and takes it away."""

        def try_it() -> None:
            probe = self._folder / f".meeting-assistant-{secrets.token_hex(8)}"
            probe.write_text("")
            probe.unlink()

        try:
            await asyncio.to_thread(try_it)
        except OSError as error:
            raise _refused(self._folder, error) from error
        return f"Notes can be written to {self._folder}."

    async def close(self) -> None:
        """Do nothing: no resources are held."""


def _refused(folder: Path, error: OSError) -> DeliveryError:
    return DeliveryError(
        f"No note can be written to {folder} ({error.strerror or type(error).__name__}).",
        "Make WORKFLOWS__MARKDOWN__FOLDER a folder that is there and that the server may write to.",
        code="delivery_server_error",
        retryable=True,
    )


def _write(folder: Path, name: str, head: str, text: str, meeting_id: str) -> Path:
    digest = _digest(f"---\n{head}\n---\n{text}")
    note = f"---\n{head}\nmeeting_assistant_digest: {digest}\n---\n{text}".encode()
    partial = folder / f".{secrets.token_hex(8)}.partial"
    try:
        with partial.open("wb") as file:
            file.write(note)
            file.flush()
            os.fsync(file.fileno())
        for path in _candidates(folder, name):
            if _put_new(partial, path):
                return path
            if _is_ours(path, meeting_id):
                partial.replace(path)
                return path
    finally:
        partial.unlink(missing_ok=True)
    raise FileExistsError(errno.EEXIST, "too many notes of that name")


def _put_new(partial: Path, path: Path) -> bool:
    """False when there is a file of that name, whoever was faster."""
    try:
        path.hardlink_to(partial)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        try:
            with path.open("xb") as file:
                file.write(partial.read_bytes())
                file.flush()
                os.fsync(file.fileno())
        except FileExistsError:
            return False
    return True


def _candidates(folder: Path, name: str) -> Iterator[Path]:
    yield folder / f"{name}.md"
    for number in range(2, MAX_NAMESAKES):
        yield folder / f"{name} ({number}).md"


def _is_ours(path: Path, meeting_id: str) -> bool:
    """True for a note about this meeting that nobody has touched."""
    try:
        content = path.read_bytes().decode()  # with the line ends that are there
    except UnicodeDecodeError:
        return False
    head = content.partition("\n---\n")[0]
    meeting, digest = _MEETING.search(head), _DIGEST.search(content)
    if meeting is None or digest is None or meeting[1] != meeting_id:
        return False
    return _digest(content[: digest.start()] + content[digest.end() :]) == digest[1]


def _digest(note: str) -> str:
    """Return the SHA-256 of a note, in hexadecimal; the note is given without the line that holds it."""
    return hashlib.sha256(note.encode()).hexdigest()


def _front_matter(outcome: MeetingOutcome) -> str:
    """YAML: JSON strings are YAML strings."""
    people = [one_line(outcome.transcript.speaker_name(s.label)) for s in outcome.transcript.speakers]
    return "\n".join(
        [
            f"title: {json.dumps(outcome.title, ensure_ascii=False)}",
            f"date: {outcome.began:%Y-%m-%dT%H:%M}",
            f"attendees: {json.dumps(people, ensure_ascii=False)}",
            "tags: [meeting]",
            f"link: {json.dumps(outcome.link)}",
            f"meeting_assistant_id: {outcome.meeting.id}",
        ]
    )


def _file_name(title: str) -> str:
    name = " ".join(_UNSAFE.sub(" ", title).split()).strip(". ")[:MAX_NAME]
    return name.encode()[:MAX_NAME_BYTES].decode(errors="ignore").strip(". ")
