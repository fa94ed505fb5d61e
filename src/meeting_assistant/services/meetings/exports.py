"""Export of a meeting as Markdown, JSON, text or subtitles. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import BaseModel

from meeting_assistant.domain.errors import InputError
from meeting_assistant.domain.meeting import Meeting
from meeting_assistant.domain.minutes import ActionItem, Item, Minutes
from meeting_assistant.domain.text import escape_markdown, without_controls
from meeting_assistant.domain.transcript import INTERRUPTED, PAUSED, Gap, Transcript, Utterance
from meeting_assistant.services.meetings.subtitles import Cue, cues_of

ExportFormat = Literal["md", "json", "srt", "vtt", "txt"]

_GAPS = {
    "damaged_audio": "could not be read: the file is damaged",
    "file_ends_early": "are missing at the end of the file",
    "missing_audio": "have no sound in the file",
    "off_the_record": "are off the record",
}
_UNTRANSCRIBED = "could not be transcribed"
_UNSAFE_IN_NAMES = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f]+')


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file that is ready to be written or sent."""

    name: str
    """A file name that is safe on all systems; it may contain letters beyond ASCII."""
    media_type: str
    text: str


class _Document(BaseModel):
    """The JSON export; `version` grows when readers have to change."""

    model_config = {"serialize_by_alias": True}

    format: Literal["meeting-assistant"] = "meeting-assistant"
    version: int = 1
    meeting: Meeting
    transcript: Transcript
    minutes: Minutes | None


def export(meeting: Meeting, transcript: Transcript, minutes: Minutes | None, fmt: str) -> ExportedFile:
    """Return the meeting in this format. Raises InputError for an unknown format."""
    writer = _WRITERS.get(fmt)
    if writer is None:
        raise InputError(f"The format {fmt!r} does not exist.", f"Use one of: {', '.join(_WRITERS)}.")
    media_type, write = writer
    return ExportedFile(f"{_file_name(meeting)}.{fmt}", media_type, write(meeting, transcript, minutes))


def clock(ms: int) -> str:
    """Return `1:02:03`, or `02:03` within the first hour."""
    seconds = ms // 1000
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes:02}:{seconds:02}"


# --- Markdown ---------------------------------------------------------------------------------------------


def _markdown(meeting: Meeting, transcript: Transcript, minutes: Minutes | None) -> str:
    lines = [
        f"# {escape_markdown(meeting.title)}",
        "",
        f"{_when(meeting)} · {clock(meeting.duration_ms)}",
        "",
    ]
    people = [transcript.speaker_name(speaker.label) for speaker in transcript.speakers]
    if people:
        lines += [f"Spoke: {', '.join(map(escape_markdown, people))}", ""]
    if minutes is not None:
        lines += _markdown_minutes(minutes, transcript)
    for error in meeting.errors:
        lines += [f"> {escape_markdown(error.message)} {escape_markdown(error.remedy)}", ""]
    lines += ["## Transcript", ""]
    if not transcript.utterances:
        lines += ["No speech was heard.", ""]
    for utterance in transcript.utterances:
        speaker = escape_markdown(transcript.speaker_name(utterance.speaker))
        lines += [f"**{speaker}** `{clock(utterance.start_ms)}` {escape_markdown(utterance.text)}", ""]
    for gap in transcript.gaps:
        lines += [f"_{_gap_text(gap)}_", ""]
    return "\n".join(lines)


def _gap_text(gap: Gap) -> str:
    start = clock(gap.start_ms)
    if gap.reason in (PAUSED, INTERRUPTED):
        kind = "The recording was paused" if gap.reason == PAUSED else "Recording was interrupted"
        return f"{kind} at {start}{'' if gap.unrecorded_ms is None else f' for {clock(gap.unrecorded_ms)}'}."
    return f"{start} to {clock(gap.end_ms)} {_GAPS.get(gap.reason, _UNTRANSCRIBED)}."


def _markdown_minutes(minutes: Minutes, transcript: Transcript) -> list[str]:
    starts = {utterance.utterance: utterance.start_ms for utterance in transcript.utterances}
    sections: list[tuple[str, Sequence[Item], str]] = [
        ("Summary", minutes.summary, "-"),
        *((escape_markdown(section.title), section.items, "-") for section in minutes.sections),
        ("Decisions", minutes.decisions, "-"),
        ("Action items", minutes.action_items, "- [ ]"),
        ("Open questions", minutes.open_questions, "-"),
        ("Risks", minutes.risks, "-"),
        ("Possible follow-ups (mentioned, not agreed)", minutes.possible_follow_ups, "-"),
    ]
    lines: list[str] = []
    for heading, items, bullet in sections:
        if items:
            lines += [f"## {heading}", ""]
            lines += [f"{bullet} {_markdown_item(item, starts, transcript)}" for item in items]
            lines.append("")
    return lines


def _markdown_item(item: Item, starts: dict[int, int], transcript: Transcript) -> str:
    parts = [escape_markdown(item.text)]
    if isinstance(item, ActionItem):
        owner = transcript.speaker_name(item.owner) if item.owner else "nobody named"
        due = " ".join(
            part for part in (item.due_phrase, f"({item.due.isoformat()})" if item.due else "") if part
        )
        parts.append(f"— **{escape_markdown(owner)}**" + (f", {escape_markdown(due)}" if due else ""))
    moments = [f"`{clock(starts[e.utterance])}`" for e in item.evidence if e.utterance in starts]
    return " ".join([*parts, *moments])


# --- JSON, text, subtitles --------------------------------------------------------------------------------


def _json(meeting: Meeting, transcript: Transcript, minutes: Minutes | None) -> str:
    document = _Document(meeting=meeting, transcript=transcript, minutes=minutes)
    return document.model_dump_json(indent=2) + "\n"


def _txt(meeting: Meeting, transcript: Transcript, minutes: Minutes | None) -> str:
    lines: list[str] = []
    for is_new, utterance in _with_speaker_changes(transcript):
        if is_new:
            lines += (
                ["", f"{without_controls(transcript.speaker_name(utterance.speaker))}:"]
                if lines
                else [f"{without_controls(transcript.speaker_name(utterance.speaker))}:"]
            )
        lines.append(without_controls(utterance.text))
    return "\n".join(lines) + "\n" if lines else ""


def _srt(meeting: Meeting, transcript: Transcript, minutes: Minutes | None) -> str:
    blocks = []
    for number, (cue, name) in enumerate(_named_cues(transcript, only_changes=True), start=1):
        lines = list(cue.lines)
        if name is not None:
            lines[0] = f"{name}: {lines[0]}"
        text = "\n".join(map(_srt_text, lines))
        blocks.append(f"{number}\n{_stamp(cue.start_ms, ',')} --> {_stamp(cue.end_ms, ',')}\n{text}\n")
    return "\n".join(blocks)


def _vtt(meeting: Meeting, transcript: Transcript, minutes: Minutes | None) -> str:
    blocks = ["WEBVTT\n"]
    for cue, name in _named_cues(transcript, only_changes=False):
        voice = _vtt_text(name or "").replace("\n", " ")
        text = "\n".join(map(_vtt_text, cue.lines))
        blocks.append(f"{_stamp(cue.start_ms, '.')} --> {_stamp(cue.end_ms, '.')}\n<v {voice}>{text}\n")
    return "\n".join(blocks)


def _named_cues(transcript: Transcript, *, only_changes: bool) -> Iterator[tuple[Cue, str | None]]:
    """Yield cues with the speaker's name (with `only_changes`, on the first of a run)."""
    last: object = ()
    for cue in cues_of(transcript.utterances):
        is_named = not only_changes or cue.speaker != last
        last = cue.speaker
        yield cue, transcript.speaker_name(cue.speaker) if is_named else None


def _srt_text(text: str) -> str:
    """SRT has no escapes, and players read tags and `{\\an8}` in it: their brackets become others that look alike."""
    return without_controls(text).replace("-->", "→").translate(_SRT_BRACKETS)


_SRT_BRACKETS = str.maketrans("<>{}", "\u2039\u203a()")


def _vtt_text(text: str) -> str:
    return without_controls(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _stamp(ms: int, separator: str) -> str:
    seconds, millis = divmod(ms, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{separator}{millis:03}"


def _with_speaker_changes(transcript: Transcript) -> Iterator[tuple[bool, Utterance]]:
    last: object = ()
    for utterance in transcript.utterances:
        yield utterance.speaker != last, utterance
        last = utterance.speaker


def _when(meeting: Meeting) -> str:
    began = datetime.fromtimestamp(meeting.began_at_ms / 1000, tz=UTC)
    return f"{began + timedelta(minutes=meeting.utc_offset_minutes):%d %B %Y, %H:%M}"


def _file_name(meeting: Meeting) -> str:
    name = (
        " ".join(_UNSAFE_IN_NAMES.sub(" ", without_controls(meeting.title)).split())
        .strip(". ")[:80]
        .strip(". ")
    )
    return name if name and name.upper() not in _RESERVED else meeting.id


_RESERVED = {
    "CON",
    "PRN",
    "AUX",
    "NUL",
    *(f"COM{i}" for i in range(1, 10)),
    *(f"LPT{i}" for i in range(1, 10)),
}

_Writer = Callable[[Meeting, Transcript, Minutes | None], str]
_WRITERS: dict[str, tuple[str, _Writer]] = {
    "md": ("text/markdown; charset=utf-8", _markdown),
    "json": ("application/json", _json),
    "srt": ("application/x-subrip; charset=utf-8", _srt),
    "vtt": ("text/vtt; charset=utf-8", _vtt),
    "txt": ("text/plain; charset=utf-8", _txt),
}
