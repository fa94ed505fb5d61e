"""Sound goes where the clock of its container puts it, unless the clock is wrong."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meeting_assistant.adapters.audio.container_clock import ContainerClock, Placed

FRAME = 0.1


def starts(clock: ContainerClock[int], times: list[float | None]) -> list[float]:
    """Place frames of 0.1 s with these time stamps, and return where they begin."""
    placed: list[Placed[int]] = []
    for number, time in enumerate(times):
        placed += clock.place(time, FRAME, number)
    placed += clock.finish()
    assert [item.sound for item in placed] == [*range(len(times))]
    return [round(item.start, 3) for item in placed]


def steady(count: int, start: float = 0.0) -> list[float | None]:
    return [start + FRAME * number for number in range(count)]


def test_a_late_start_and_a_jump_are_kept() -> None:
    times = steady(50, 8.0) + steady(50, 40.0)
    assert starts(ContainerClock(), times) == pytest.approx(times)


def test_jitter_moves_nothing() -> None:
    dice = random.Random(1)
    times = [time + dice.uniform(-0.1, 0.1) for time in steady(200) if time is not None]
    assert starts(ContainerClock(), [*times]) == pytest.approx(steady(200))


@pytest.mark.parametrize("wrong", [-3600.0, -2.0, 0.5, 5.0, 3600.0, 1e9])
@pytest.mark.parametrize("frames", [1, 30])
def test_a_jump_that_is_reversed_is_a_damaged_time_stamp(wrong: float, frames: int) -> None:
    times = steady(50) + steady(frames, 5.0 + wrong) + steady(50, 5.0 + frames * FRAME)
    assert starts(ContainerClock(), times) == pytest.approx(steady(100 + frames), abs=0.01)


def test_a_restarted_container_clock_continues_where_it_was() -> None:
    assert starts(ContainerClock(), steady(50) + steady(150)) == pytest.approx(steady(200))


def test_times_after_the_end_of_the_container_are_wrong() -> None:
    assert starts(ContainerClock(latest_s=30.0), steady(50) + steady(150, 500.0)) == pytest.approx(
        steady(200)
    )


def test_lost_audio_without_a_time_stamp_shifts_the_rest() -> None:
    clock: ContainerClock[int] = ContainerClock()
    clock.place(None, 1.0, 0)
    [placed] = clock.place(None, 1.0, 1, is_damaged=True, lost_s=2.5)
    assert (placed.gap_start, placed.start, placed.is_damaged) == (1.0, 3.5, True)


@given(st.lists(st.floats(-1e6, 1e6), max_size=60))
def test_no_time_stamps_lose_audio_or_move_time_backwards(times: list[float]) -> None:
    clock: ContainerClock[int] = ContainerClock(latest_s=1e5)
    found = starts(clock, [*times])
    for before, after in itertools.pairwise(found):
        assert after >= before + FRAME - 0.01
