"""Who sends too fast is read more slowly."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meeting_assistant.web.rate_limit import Pace

SECOND = 32_000


def test_sound_at_the_pace_of_speech_is_never_held_up() -> None:
    pace = Pace(speed=1, now=0)
    assert all(pace.wait_s(SECOND // 10, tenth / 10) == 0 for tenth in range(36_000))


def test_what_a_client_kept_while_it_was_cut_off_may_come_at_once() -> None:
    pace = Pace(speed=1, now=0)
    assert [pace.wait_s(SECOND, 0) for _ in range(60)] == [0] * 60
    assert pace.wait_s(SECOND, 0) == 1


@given(st.lists(st.integers(0, 65_536), max_size=300), st.floats(1, 100))
def test_who_is_too_fast_is_read_later_and_nothing_is_lost(sizes: list[int], speed: float) -> None:
    pace, now = Pace(speed=speed, now=0), 0.0
    for size in sizes:
        now += pace.wait_s(size, now)
    # In the long run no faster than allowed, beyond the burst and the last piece.
    assert sum(sizes) / SECOND <= 60 + now * speed + 65_536 / SECOND + 1e-6
