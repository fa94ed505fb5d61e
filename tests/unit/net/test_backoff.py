"""Backoff grows up to a maximum, and jitter only shortens it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meeting_assistant.net.backoff import Backoff


def test_pauses_grow_up_to_the_maximum() -> None:
    backoff = Backoff(first_s=0.5, factor=2, longest_s=5)
    assert [backoff.pause_s(failures) for failures in range(1, 7)] == [0.5, 1, 2, 4, 5, 5]


def test_a_hundred_thousand_failures_do_not_overflow() -> None:
    assert Backoff(first_s=5, factor=5, longest_s=36_000).pause_s(100_000) == 36_000


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 50))
def test_jitter_shortens_a_pause_by_at_most_its_share(jitter: float, chance: float, failures: int) -> None:
    backoff = Backoff(first_s=1, longest_s=60, jitter=jitter)
    full_s = Backoff(first_s=1, longest_s=60).pause_s(failures)
    assert full_s * (1 - jitter) - 1e-9 <= backoff.pause_s(failures, lambda: chance) <= full_s
