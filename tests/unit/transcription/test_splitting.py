"""Splitting an utterance by hand: words, times and quotations."""

from __future__ import annotations

import pytest

from meeting_assistant.domain.errors import InputError
from meeting_assistant.domain.minutes import Evidence
from meeting_assistant.domain.splitting import cut, move_quote
from meeting_assistant.domain.transcript import Transcript, Utterance, Word
from meeting_assistant.services.minutes.evidence.grounding import Grounding

TEXT = "Who takes the slides? I will send them by Friday."


def make_utterance(text: str = TEXT, words: tuple[str, ...] | None = None) -> Utterance:
    texts = text.split() if words is None else words
    return Utterance(
        utterance=3,
        rev=2,
        start_ms=1000,
        end_ms=1000 + 100 * len(texts),
        speaker="S1",
        echo="the slides",
        text=text,
        words=[Word(text=t, start_ms=1000 + 100 * i, end_ms=1090 + 100 * i) for i, t in enumerate(texts)],
    )


def test_words_and_times_go_to_their_part() -> None:
    first, second = cut(make_utterance(), 4, new_id=9)
    assert (first.utterance, first.rev, first.text) == (3, 3, "Who takes the slides?")
    assert (second.utterance, second.rev, second.text) == (9, 1, "I will send them by Friday.")
    assert (first.start_ms, first.end_ms) == (1000, 1390)
    assert (second.start_ms, second.end_ms) == (1400, 2000)
    assert [w.text for w in (*first.words, *second.words)] == TEXT.split()
    assert (first.speaker, second.speaker) == ("S1", "S1")
    assert (first.echo, second.echo) == ("the slides", None)


def test_without_stored_words_text_is_split_and_time_is_divided_by_letters() -> None:
    plain = make_utterance().model_copy(update={"words": []})
    first, second = cut(plain, 4, new_id=9)
    assert (first.text, second.text) == ("Who takes the slides?", "I will send them by Friday.")
    assert plain.start_ms < first.end_ms == second.start_ms < plain.end_ms
    assert (first.words, second.words) == ([], [])


def test_text_without_spaces_is_split_as_it_is_written() -> None:
    first, second = cut(make_utterance("谁来做。我来做。", ("谁", "来做。", "我来", "做。")), 2, new_id=9)
    assert (first.text, second.text) == ("谁来做。", "我来做。")
    quote = Evidence(utterance=3, quote="做。我来")
    moved = move_quote(quote, make_utterance("谁来做。我来做。"), first, second)
    assert [(one.utterance, one.quote) for one in moved] == [(3, "做。"), (9, "我来")]


@pytest.mark.parametrize("word", [0, -1, 10, 99])
def test_a_part_is_never_empty(word: int) -> None:
    with pytest.raises(InputError, match="10 words"):
        cut(make_utterance(), word, new_id=9)


@pytest.mark.parametrize(
    ("quote", "cited"),
    [
        ("takes the slides", [(3, "takes the slides")]),
        ("I will send them by Friday", [(9, "I will send them by Friday")]),
        (TEXT, [(3, "Who takes the slides?"), (9, "I will send them by Friday.")]),
        ("the slides? I will send", [(3, "the slides?"), (9, "I will send")]),
        ("send it by friday", [(9, "send it by friday")]),
        ("nothing of it", [(3, "nothing of it")]),
    ],
)
def test_a_quotation_moves_to_the_part_that_contains_it(quote: str, cited: list[tuple[int, str]]) -> None:
    parts = cut(make_utterance(), 4, new_id=9)
    moved = move_quote(Evidence(utterance=3, quote=quote), make_utterance(), *parts)
    assert [(one.utterance, one.quote) for one in moved] == cited
    assert move_quote(Evidence(utterance=4, quote=quote), make_utterance(), *parts) == [
        Evidence(utterance=4, quote=quote)
    ]


@pytest.mark.parametrize("word", range(1, 10))
def test_evidence_stays_valid_wherever_an_utterance_is_split(word: int) -> None:
    parts = cut(make_utterance(), word, new_id=9)
    text_of = {part.utterance: part.text for part in parts}
    moved = move_quote(Evidence(utterance=3, quote="I will send them by Friday"), make_utterance(), *parts)
    assert all(one.quote in text_of[one.utterance] for one in moved)
    assert " ".join(one.quote for one in moved) == "I will send them by Friday"
    grounding = Grounding(Transcript(utterances=list(parts)))
    for one in moved:
        assert grounding.check(one.quote, [one.utterance], one.quote).evidence or len(one.quote) < 8
