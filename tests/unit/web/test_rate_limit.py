"""The audio of a client that sends too fast is read later."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meeting_assistant.web.rate_limit import RateLimiter

SECOND = 32_000


def test_audio_in_real_time_is_never_delayed() -> None:
    limiter = RateLimiter(speed=1, now=0)
    assert all(limiter.wait_s(SECOND // 10, tenth / 10) == 0 for tenth in range(36_000))


def test_audio_buffered_during_a_disconnection_can_arrive_at_once() -> None:
    limiter = RateLimiter(speed=1, now=0)
    assert [limiter.wait_s(SECOND, 0) for _ in range(60)] == [0] * 60
    assert limiter.wait_s(SECOND, 0) == 1


@given(st.lists(st.integers(0, 65_536), max_size=300), st.floats(1, 100))
def test_audio_sent_too_fast_is_read_later_and_nothing_is_lost(sizes: list[int], speed: float) -> None:
    limiter, now = RateLimiter(speed=speed, now=0), 0.0
    for size in sizes:
        now += limiter.wait_s(size, now)
    # In the long run no faster than allowed, beyond the burst and the last piece.
    assert sum(sizes) / SECOND <= 60 + now * speed + 65_536 / SECOND + 1e-6
