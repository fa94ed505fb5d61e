"""Words of successive hypotheses that become stable."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meeting_assistant.services.asr.stabiliser import Stabiliser


def test_a_word_is_stable_when_two_hypotheses_in_a_row_agree() -> None:
    caption = Stabiliser()
    assert caption.update(["we", "should"]).stable == ()
    assert caption.update(["we", "should", "ship"]).stable == ("we", "should")
    shown = caption.update(["we", "should", "ship", "on", "Friday"])
    assert shown.stable == ("we", "should", "ship")
    assert shown.unstable == ("on", "Friday")


def test_the_last_word_of_a_window_is_not_yet_stable() -> None:
    caption = Stabiliser()
    caption.update(["we", "should"])
    assert caption.update(["we", "should"]).stable == ("we",)


def test_case_and_punctuation_do_not_prevent_agreement() -> None:
    caption = Stabiliser()
    caption.update(["Well,", "we"])
    assert caption.update(["well", "we", "agree"]).stable == ("well", "we")


def test_a_hypothesis_that_differs_in_stable_words_neither_repeats_nor_loses_the_next_ones() -> None:
    caption = Stabiliser()
    caption.update(["the", "budget", "is"])
    caption.update(["the", "budget", "is", "approved"])
    shown = caption.update(["a", "budget", "is", "approved", "by", "all"])
    assert shown.stable == ("the", "budget", "is", "approved")
    assert shown.unstable == ("by", "all")


words = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=12)


@given(st.lists(words, max_size=12))
def test_stable_words_are_never_withdrawn(hypotheses: list[list[str]]) -> None:
    caption = Stabiliser()
    stable: tuple[str, ...] = ()
    for hypothesis in hypotheses:
        shown = caption.update(hypothesis)
        assert shown.stable[: len(stable)] == stable
        stable = shown.stable


@given(words.filter(bool))
def test_a_growing_hypothesis_is_shown_in_full(final: list[str]) -> None:
    caption = Stabiliser()
    for end in range(1, len(final) + 1):
        shown = caption.update(final[:end])
        assert [*shown.stable, *shown.unstable] == final[:end]


# --- windows that begin in the middle of an utterance


def test_a_window_that_starts_later_is_aligned_with_the_known_words() -> None:
    caption = Stabiliser()
    for end in (4, 5, 6):
        caption.update("we agreed to move the launch".split()[:end])
    shown = caption.update("move the launch to March".split(), is_cut=True)
    assert (shown.stable + shown.unstable) == tuple("we agreed to move the launch to March".split())


def test_a_window_that_cannot_be_aligned_changes_nothing() -> None:
    caption = Stabiliser()
    before = [caption.update("we agreed to move".split()) for _ in range(2)][-1]
    assert caption.update("banana bread".split(), is_cut=True) == before


@given(st.lists(st.integers(0, 500), min_size=8, max_size=60, unique=True), st.integers(5, 9))
def test_no_word_is_lost_or_repeated_when_the_window_moves_on(numbers: list[int], span: int) -> None:
    spoken = [f"w{number}" for number in numbers]
    caption = Stabiliser()
    for end in range(1, len(spoken) + 1):
        start = max(0, end - span)
        shown = caption.update(spoken[start:end], is_cut=start > 0)
        assert list(shown.stable + shown.unstable) == spoken[:end]


def test_confident_words_need_no_second_hypothesis() -> None:
    caption = Stabiliser()
    words = "the budget is approved".split()
    assert caption.update(words, probabilities=[0.99, 0.95, 0.99, 0.99]).stable == ("the", "budget")


def test_an_uncertain_word_keeps_the_words_after_it_unstable() -> None:
    caption = Stabiliser()
    words = "the budget is approved by all".split()
    assert caption.update(words, probabilities=[0.99, 0.4, 0.99, 0.99, 0.99, 0.99]).stable == ("the",)


def test_stable_words_are_spelled_as_in_the_newest_hypothesis() -> None:
    caption = Stabiliser()
    caption.update("well we agree".split())
    caption.update("Well, we agree now".split())
    assert caption.agreed_words == ("Well,", "we", "agree")


def test_the_final_is_compared_with_the_stable_words() -> None:
    caption = Stabiliser()
    caption.update("we ship on".split())
    caption.update("we ship on Friday".split())
    assert caption.is_kept_by("We ship, on Friday.".split())
    assert not caption.is_kept_by("We slip on Friday.".split())
    assert not caption.is_kept_by(["We"])
    assert Stabiliser().is_kept_by([])
