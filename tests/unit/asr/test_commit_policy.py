"""What a caption may promise, and which decodes are never shown."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meeting_assistant.services.asr.stabiliser import Stabiliser, reject_audio, reject_text


def test_a_word_is_stable_when_two_hypotheses_in_a_row_agree() -> None:
    caption = Stabiliser()
    assert caption.update(["we", "should"]).stable == ()
    assert caption.update(["we", "should", "ship"]).stable == ("we", "should")
    shown = caption.update(["we", "should", "ship", "on", "Friday"])
    assert shown.stable == ("we", "should", "ship")
    assert shown.unstable == ("on", "Friday")


def test_the_last_word_of_a_window_is_held_back() -> None:
    caption = Stabiliser()
    caption.update(["we", "should"])
    assert caption.update(["we", "should"]).stable == ("we",)


def test_case_and_punctuation_do_not_break_an_agreement() -> None:
    caption = Stabiliser()
    caption.update(["Well,", "we"])
    assert caption.update(["well", "we", "agree"]).stable == ("well", "we")


def test_a_change_of_mind_about_stable_words_neither_doubles_nor_swallows_the_next_ones() -> None:
    caption = Stabiliser()
    caption.update(["the", "budget", "is"])
    caption.update(["the", "budget", "is", "approved"])
    shown = caption.update(["a", "budget", "is", "approved", "by", "all"])
    assert shown.stable == ("the", "budget", "is", "approved")
    assert shown.unstable == ("by", "all")


words = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=12)


@given(st.lists(words, max_size=12))
def test_stable_text_is_never_taken_back(hypotheses: list[list[str]]) -> None:
    caption = Stabiliser()
    promised: tuple[str, ...] = ()
    for hypothesis in hypotheses:
        shown = caption.update(hypothesis)
        assert shown.stable[: len(promised)] == promised
        promised = shown.stable


@given(words.filter(bool))
def test_a_hypothesis_that_only_grows_is_shown_in_full(final: list[str]) -> None:
    caption = Stabiliser()
    for end in range(1, len(final) + 1):
        shown = caption.update(final[:end])
        assert [*shown.stable, *shown.unstable] == final[:end]


def test_a_noise_floor_is_not_decoded_and_a_quiet_voice_is() -> None:
    hiss = (np.random.default_rng(1).normal(0, 8, 16_000)).astype(np.int16)
    voice = (np.sin(np.arange(16_000) / 10) * 200).astype(np.int16)
    assert reject_audio(hiss) == "too_quiet"
    assert reject_audio(voice) is None
    assert reject_audio(np.zeros(10, dtype=np.int16)) == "too_short"


@pytest.mark.parametrize("answer", ["Yes.", "No.", "OK.", "Thank you.", "You decide."])
def test_a_short_real_answer_survives(answer: str) -> None:
    assert reject_text(answer, voiced_ms=250, duration_ms=700) is None


def test_a_word_that_the_model_writes_for_silence_is_dropped_when_hardly_anything_was_voiced() -> None:
    assert reject_text("You", voiced_ms=96, duration_ms=600) == "invented"
    assert reject_text("You", voiced_ms=400, duration_ms=900) is None


def test_loops_and_impossible_speed_are_dropped() -> None:
    assert reject_text("going on " * 10, voiced_ms=4000, duration_ms=9000) == "repetition"
    assert reject_text("no no no no", voiced_ms=900, duration_ms=1200) == "repetition"
    assert (
        reject_text("a perfectly fine sentence of some length", voiced_ms=300, duration_ms=500) == "too_fast"
    )
    assert reject_text("no no we really should not do that again", voiced_ms=2000, duration_ms=2600) is None


# --- windows that begin in the middle of an utterance


def test_a_window_that_begins_later_is_joined_where_its_words_are_recognised() -> None:
    caption = Stabiliser()
    for end in (4, 5, 6):
        caption.update("we agreed to move the launch".split()[:end])
    shown = caption.update("move the launch to March".split(), is_cut=True)
    assert (shown.stable + shown.unstable) == tuple("we agreed to move the launch to March".split())


def test_a_window_whose_words_are_not_recognised_changes_nothing() -> None:
    caption = Stabiliser()
    before = [caption.update("we agreed to move".split()) for _ in range(2)][-1]
    assert caption.update("banana bread".split(), is_cut=True) == before


@given(st.lists(st.integers(0, 500), min_size=8, max_size=60, unique=True), st.integers(5, 9))
def test_no_word_is_lost_or_doubled_at_the_seams_of_a_window_that_moves_on(
    numbers: list[int], span: int
) -> None:
    said = [f"w{number}" for number in numbers]
    caption = Stabiliser()
    for end in range(1, len(said) + 1):
        start = max(0, end - span)
        shown = caption.update(said[start:end], is_cut=start > 0)
        assert list(shown.stable + shown.unstable) == said[:end]


def test_words_that_the_engine_is_sure_of_need_no_second_hypothesis() -> None:
    caption = Stabiliser()
    words = "the budget is approved".split()
    assert caption.update(words, probabilities=[0.99, 0.95, 0.99, 0.99]).stable == ("the", "budget")


def test_a_doubtful_word_holds_up_those_after_it() -> None:
    caption = Stabiliser()
    words = "the budget is approved by all".split()
    assert caption.update(words, probabilities=[0.99, 0.4, 0.99, 0.99, 0.99, 0.99]).stable == ("the",)


def test_what_was_worked_out_is_told_in_the_words_of_the_newest_hypothesis() -> None:
    caption = Stabiliser()
    caption.update("well we agree".split())
    caption.update("Well, we agree now".split())
    assert caption.settled == ("Well,", "we", "agree")


def test_finished_words_keep_the_promise_or_it_is_known_that_they_do_not() -> None:
    caption = Stabiliser()
    caption.update("we ship on".split())
    caption.update("we ship on Friday".split())
    assert caption.is_kept_by("We ship, on Friday.".split())
    assert not caption.is_kept_by("We slip on Friday.".split())
    assert not caption.is_kept_by(["We"])
    assert Stabiliser().is_kept_by([])
