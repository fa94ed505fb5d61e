"""Exports of a meeting are complete, and transcript text cannot break their format."""

from __future__ import annotations

import json
import re
import struct
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meeting_assistant.domain.errors import InputError, RangeNotSatisfiableError
from meeting_assistant.domain.meeting import Meeting, MeetingState
from meeting_assistant.domain.minutes import ActionItem, Evidence, Item, Minutes
from meeting_assistant.domain.transcript import Gap, Speaker, Transcript, Utterance
from meeting_assistant.services.meetings.exports import ExportedFile, export
from meeting_assistant.web.audio_range import HEADER_BYTES, wav_header, wav_range

pytestmark = pytest.mark.unit

MEETING = Meeting(
    id="01890a5d-ac96-774b-bcce-b302099a8057",
    title="Planning / Q3",
    state=MeetingState.DONE,
    source="live",
    created_at_ms=1_763_283_600_000,
    utc_offset_minutes=60,
    duration_ms=65_000,
)
TRANSCRIPT = Transcript(
    utterances=[
        Utterance(
            utterance=1, start_ms=500, end_ms=2500, speaker="S1", text="I'll send <b>it</b> by Friday."
        ),
        Utterance(utterance=2, start_ms=61_000, end_ms=63_000, speaker=None, text="Fine --> good."),
    ],
    speakers=[Speaker(label="S1", name="Ana & Co")],
    gaps=[Gap(start_ms=30_000, end_ms=40_000, reason="engine_failed")],
)
EVIDENCE = [Evidence(utterance=1, quote="I'll send <b>it</b> by Friday.")]
MINUTES = Minutes(
    decisions=[Item(id="d1", text="Send *it*", evidence=EVIDENCE)],
    action_items=[
        ActionItem(
            id="a1",
            text="Send it",
            evidence=EVIDENCE,
            owner="S1",
            due=date(2026, 11, 20),
            due_phrase="by Friday",
        )
    ],
)


def exported(
    fmt: str, transcript: Transcript = TRANSCRIPT, minutes: Minutes | None = MINUTES
) -> ExportedFile:
    return export(MEETING, transcript, minutes, fmt)


def test_markdown_has_the_title_the_items_with_owner_due_date_and_time_and_the_transcript() -> None:
    text = exported("md").text
    assert "# Planning / Q3" in text
    assert r"- [ ] Send it — **Ana \& Co**, by Friday (2026-11-20) `00:00`" in text
    assert "00:30 to 00:40 could not be transcribed" in text
    assert "**Unknown speaker** `01:01`" in text


def test_transcript_text_never_becomes_markup_in_markdown() -> None:
    text = exported("md").text
    assert "<b>" not in text.replace(r"\<", "")
    assert r"Send \*it\*" in text


def test_json_is_the_whole_record() -> None:
    document = json.loads(exported("json").text)
    assert document["format"] == "meeting-assistant"
    assert Transcript.model_validate(document["transcript"]) == TRANSCRIPT
    assert Minutes.model_validate(document["minutes"]) == MINUTES


def test_srt_numbers_its_cues_and_names_the_speakers() -> None:
    text = exported("srt").text
    assert text.startswith("1\n00:00:00,500 --> 00:00:02,500\nAna & Co: I'll send")
    assert "\n2\n00:01:01,000 --> 00:01:03,000\n" in text
    assert text.count("-->") == 2, "an arrow that was said is not a time"


def test_names_and_text_contain_no_formatting_in_srt() -> None:
    transcript = TRANSCRIPT.model_copy(
        update={"speakers": [Speaker(label="S1", name="<img src=x> {\\an8}<font color=red>Ana")]}
    )
    text = exported("srt", transcript).text.replace("-->", "")
    assert not re.search(r"[<>]|\{\\", text)
    assert "it" in text
    assert "Ana" in text


def test_webvtt_escapes_markup_and_has_voice_tags() -> None:
    text = exported("vtt").text
    assert text.startswith("WEBVTT\n\n00:00:00.500 --> 00:00:02.500\n<v Ana &amp; Co>")
    assert "&lt;b&gt;" in text
    assert "<b>" not in text


def test_plain_text_lists_utterances_under_their_speaker() -> None:
    assert exported("txt").text == (
        "Ana & Co:\nI'll send <b>it</b> by Friday.\n\nUnknown speaker:\nFine --> good.\n"
    )


def test_srt_has_no_tags_in_text_or_names() -> None:
    transcript = Transcript(
        utterances=[
            Utterance(utterance=1, start_ms=0, end_ms=900, speaker="S1", text="<b>5 < 6</b> {\\an8}up")
        ],
        speakers=[Speaker(label="S1", name="<img src=x><font color=red>Eve")],
    )
    assert not set("<>{}") & set(exported("srt", transcript).text.replace("-->", ""))


@pytest.mark.parametrize("fmt", ["md", "json", "srt", "vtt", "txt"])
def test_an_empty_meeting_gives_a_valid_file(fmt: str) -> None:
    file = exported(fmt, Transcript(), Minutes())
    assert file.name == f"Planning Q3.{fmt}"
    if fmt == "md":
        assert "No speech was heard." in file.text


def test_an_unknown_format_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="docx") as caught:
        exported("docx")
    assert "md, json, srt, vtt, txt" in caught.value.remedy


@given(st.text(max_size=200), st.text(max_size=40))
def test_no_text_breaks_the_format_of_subtitles(text: str, name: str) -> None:
    transcript = Transcript(
        utterances=[Utterance(utterance=1, start_ms=0, end_ms=1000, speaker="S1", text=text or ".")],
        speakers=[Speaker(label="S1", name=name)],
    )
    for fmt in ("srt", "vtt"):
        cues = [line for line in exported(fmt, transcript).text.split("\n") if "-->" in line]
        assert all(re.fullmatch(r"[\d:.,]+ --> [\d:.,]+", cue) for cue in cues)


# --- the sound as a WAV file that is never stored


def test_the_wav_header_states_mono_16_bit_16_khz() -> None:
    fields = struct.unpack("<4sI4s4sIHHIIHH4sI", wav_header(64_000))
    assert fields[5:11] == (1, 1, 16_000, 32_000, 2, 16)
    assert fields[-1] == 64_000


@pytest.mark.parametrize(
    ("header", "status", "first", "length"),
    [
        (None, 200, 0, 1044),
        ("bytes=0-", 200, 0, 1044),
        ("bytes=44-143", 206, 44, 100),
        ("bytes=1000-", 206, 1000, 44),
        ("bytes=-10", 206, 1034, 10),
        ("lines=1-2", 200, 0, 1044),
    ],
)
def test_byte_ranges_follow_the_http_standard(
    header: str | None, status: int, first: int, length: int
) -> None:
    answer = wav_range(1000, header)
    assert answer.status == status
    assert answer.headers["Content-Length"] == str(length)
    assert len(answer.header) + answer.pcm_end - answer.pcm_start == length
    assert answer.pcm_start == max(0, first - HEADER_BYTES)


def test_a_range_after_the_end_is_refused() -> None:
    with pytest.raises(RangeNotSatisfiableError):
        wav_range(1000, "bytes=2000-")
