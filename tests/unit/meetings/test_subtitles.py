"""Subtitles: readable, at their own time, in every script; two voices at once are two cues."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meeting_assistant.domain.transcript import Utterance, Word
from meeting_assistant.services.meetings.line_breaking import width
from meeting_assistant.services.meetings.subtitles import (
    LINE_COLUMNS,
    LINES,
    MAX_CUE_MS,
    MIN_CUE_MS,
    Cue,
    cues_of,
)

pytestmark = pytest.mark.unit


def turn(
    number: int, speaker: str | None, start_ms: int, end_ms: int, text: str, *, timed: bool = True
) -> Utterance:
    """An utterance whose words follow one another evenly."""
    texts = text.split()
    step = (end_ms - start_ms) / max(1, len(texts))
    words = [
        Word(text=word, start_ms=round(start_ms + i * step), end_ms=round(start_ms + (i + 1) * step))
        for i, word in enumerate(texts)
    ]
    return Utterance(
        utterance=number,
        speaker=speaker,
        start_ms=start_ms,
        end_ms=end_ms,
        text=text,
        words=words if timed else [],
    )


LONG_TURN = (
    "So we would keep the old server until the end of the month and then move every single customer over "
    "to the new one in one night"
)


def of(cues: list[Cue], speaker: str | None) -> list[Cue]:
    return [cue for cue in cues if cue.speaker == speaker]


@pytest.mark.parametrize("timed", [True, False])
def test_a_reply_inside_a_long_turn_is_readable_at_its_own_time(timed: bool) -> None:
    cues = cues_of(
        [
            turn(1, "S1", 0, 10_000, LONG_TURN, timed=timed),
            turn(2, "S2", 3_000, 3_400, "Yes exactly.", timed=timed),
        ]
    )
    [reply] = of(cues, "S2")
    assert (reply.start_ms, reply.lines) == (3_000, ("Yes exactly.",))
    assert reply.end_ms - reply.start_ms >= MIN_CUE_MS
    assert [cue.start_ms for cue in cues] == sorted(cue.start_ms for cue in cues)
    turns = of(cues, "S1")
    assert turns[0].start_ms == 0
    assert turns[-1].end_ms >= 10_000
    assert " ".join(" ".join(cue.lines) for cue in turns) == LONG_TURN


def test_one_voice_never_overlaps_itself_and_slight_overlaps_of_two_are_trimmed() -> None:
    cues = cues_of(
        [
            turn(1, "S1", 0, 5_200, "The first of us ends a little late."),
            turn(2, "S2", 5_000, 7_000, "The second one begins."),
            turn(3, "S2", 7_100, 7_300, "Right?"),
        ]
    )
    assert [cue.end_ms for cue in cues[:2]] == [5_000, 7_000]


def test_words_too_short_to_be_read_are_joined_to_the_next_ones_of_the_same_voice() -> None:
    cues = cues_of([turn(1, "S1", 0, 200, "No."), turn(2, "S1", 500, 1_500, "Not at all.")])
    assert [cue.lines for cue in cues] == [("No. Not at all.",)]
    apart = cues_of([turn(1, "S1", 0, 200, "No."), turn(2, "S1", 4_000, 5_000, "Not at all.")])
    assert [(cue.start_ms, cue.end_ms) for cue in apart] == [(0, 1_000), (4_000, 5_000)]


@pytest.mark.parametrize(
    ("text", "cue_count"),
    [
        (
            "我们决定在下个月底之前把所有客户迁移到新的服务器上然后关闭旧的机房并且通知每一个部门",
            1,
        ),
        (
            "来月末までにすべてのお客様を新しいサーバーへ移行し、古いデータセンターを閉じます。",
            1,
        ),
        ("เราตัดสินใจย้ายลูกค้าทั้งหมดไปยังเซิร์ฟเวอร์ใหม่ภายในสิ้นเดือนหน้าแล้วปิดศูนย์ข้อมูลเก่า", 1),
        ("决定" * 40, 2),
        ("우리는 다음 달 말까지 모든 고객을 새 서버로 옮기고 이전 데이터 센터를 닫기로 결정했습니다", 2),
    ],
)
@pytest.mark.parametrize("has_word_times", [True, False])
def test_lines_of_every_script_fit_and_nothing_is_lost(
    text: str, cue_count: int, has_word_times: bool
) -> None:
    one = turn(1, "S1", 0, 5_900, text, timed=has_word_times)
    cues = cues_of([one])
    lines = [line for cue in cues for line in cue.lines]
    assert all(width(line) <= LINE_COLUMNS for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert len(cues) == cue_count
    assert all(len(cue.lines) <= LINES for cue in cues)


def test_words_of_a_script_without_spaces_are_joined_as_they_are_written() -> None:
    words = [
        Word(text=text, start_ms=n * 300, end_ms=n * 300 + 300)
        for n, text in enumerate(["我们", "决定", "用", "Kubernetes", "部署", "。"])
    ]
    one = Utterance(
        utterance=1, start_ms=0, end_ms=1_800, text="我们决定用 Kubernetes 部署。", words=words, speaker=None
    )
    assert [cue.lines for cue in cues_of([one])] == [("我们决定用 Kubernetes 部署。",)]


def test_lines_do_not_begin_with_closing_marks_nor_end_with_opening_ones() -> None:
    for shift in range(6):
        text = "あ" * (18 + shift) + "「いろは」、" + "ん" * 14 + "っ。"
        lines = [line for cue in cues_of([turn(1, None, 0, 5_000, text)]) for line in cue.lines]
        assert len(lines) > 1
        assert not any(line[0] in "」、っ。" or line[-1] == "「" for line in lines), lines


def test_marks_stay_with_their_characters() -> None:
    text = "กำลังใจที่ดี" * 6
    for line in (line for cue in cues_of([turn(1, None, 0, 5_000, text)]) for line in cue.lines):
        assert line[0] not in "ำัี่้"
        assert line[-1] not in "ใเแโไ"
    assert width("e\u0301") == 1
    assert width("日本") == 4


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["S1", "S2", "S3", None]),
            st.integers(0, 30_000),
            st.integers(0, 12_000),
            st.text(st.sampled_from("ab 日「」ー、ก ็"), min_size=1, max_size=120),
        ),
        max_size=6,
    )
)
def test_no_word_is_lost_and_no_cue_is_unreadable(turns: list[tuple[str | None, int, int, str]]) -> None:
    utterances = [
        turn(number, speaker, start, start + length, text)
        for number, (speaker, start, length, text) in enumerate(turns, start=1)
    ]
    cues = cues_of(utterances)
    expected = sorted("".join(text for *_, text in turns).replace(" ", ""))
    assert sorted("".join(line for cue in cues for line in cue.lines).replace(" ", "")) == expected
    for cue in cues:
        assert cue.start_ms < cue.end_ms
        assert len(cue.lines) <= LINES or cue.end_ms - cue.start_ms <= MAX_CUE_MS
