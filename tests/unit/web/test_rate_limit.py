"""The audio of a client that sends too fast is read later."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meeting_assistant.web.rate_limit import (
    MAX_OWNERS,
    MESSAGES_AT_ONCE,
    MESSAGES_PER_S,
    OWNER_FACTOR,
    STORED_COST,
    MessageLimiter,
    OwnerBudgets,
    RateLimiter,
)

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


def test_frames_with_next_to_nothing_in_them_are_read_later_too() -> None:
    limiter = RateLimiter(speed=1, now=0)
    waits = [limiter.wait_s(2, 0) for _ in range(10_000)]
    assert waits[5_000] == 0
    assert round(waits[-1]) == 40, "10 000 frames count as 100 s, of which 60 s may come at once"


# --- messages -------------------------------------------------------------------------------------------------


def test_a_client_that_pings_is_never_delayed_and_a_flood_of_pings_is() -> None:
    limiter = MessageLimiter(None, now=0)
    assert all(limiter.wait_s(1, now / 10) == 0 for now in range(10_000))
    waits = [limiter.wait_s(1, 1000) for _ in range(int(MESSAGES_AT_ONCE + MESSAGES_PER_S))]
    assert round(waits[-1]) == 1


def test_stored_messages_cost_more_than_answered_ones() -> None:
    limiter = MessageLimiter(None, now=0)
    waits = [limiter.wait_s(STORED_COST, 0) for _ in range(100)]
    assert waits[int(MESSAGES_AT_ONCE / STORED_COST) - 1] == 0
    assert waits[-1] > 9


def test_connections_of_one_owner_share_its_budget_and_delay_no_one_else() -> None:
    budgets = OwnerBudgets()
    waits = [
        MessageLimiter(budgets.of("ana", 0), 0).wait_s(MESSAGES_AT_ONCE, 0)
        for _ in range(int(OWNER_FACTOR) + 1)
    ]
    assert waits[-2] == 0
    assert waits[-1] > 0
    assert MessageLimiter(budgets.of("ben", 0), 0).wait_s(MESSAGES_AT_ONCE, 0) == 0


def test_budgets_of_owners_that_do_nothing_are_forgotten() -> None:
    budgets = OwnerBudgets()
    budgets.of("busy", 0).wait_s(10_000, 0)
    for number in range(3 * MAX_OWNERS):
        budgets.of(number, 1)
    assert len(budgets) <= MAX_OWNERS + 1
    assert budgets.of("busy", 1).wait_s(0, 1) > 0
