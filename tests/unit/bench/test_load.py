"""The cost model, the degradation ladder and the capacity plan."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meeting_assistant.services.asr.capacity import plan
from meeting_assistant.services.asr.cost_model import CostModel
from meeting_assistant.services.asr.degradation import DegradationLadder, LadderOptions, Level


def test_the_cost_of_a_batch_is_linear_in_its_number_of_windows() -> None:
    model = CostModel()
    for n in (1, 2, 4, 8, 3, 6):
        model.observe("10s", n, 0.03 * n + 0.2)
    assert model.predict("10s", 16) == pytest.approx(0.03 * 16 + 0.2)


def test_with_batches_of_one_size_the_cost_is_proportional_to_their_windows() -> None:
    model = CostModel()
    for _ in range(5):
        model.observe("10s", 1, 0.1)
    assert model.predict("10s", 3) == pytest.approx(0.3)


def test_an_unknown_bucket_is_predicted_from_all_batches() -> None:
    model = CostModel(prior_s=0.5)
    assert model.predict("10s", 2) == 1.0
    model.observe("5s", 1, 0.1)
    assert model.predict("10s") == pytest.approx(0.1)


def test_predictions_follow_a_machine_that_becomes_slower() -> None:
    model = CostModel()
    for seconds in [0.1] * 100 + [0.4] * 60:
        model.observe("10s", 1, seconds)
    assert model.predict("10s") == pytest.approx(0.4, rel=0.06)


@given(st.lists(st.tuples(st.integers(1, 16), st.floats(0.001, 10)), min_size=1, max_size=40))
def test_a_prediction_is_never_negative_and_never_falls_with_more_windows(
    seen: list[tuple[int, float]],
) -> None:
    model = CostModel()
    for n, seconds in seen:
        model.observe("key", n, seconds)
    assert 0.0 <= model.predict("key", 1) <= model.predict("key", 4) + 1e-9


# --- the ladder

LADDER = LadderOptions(target_s=1.0, relief=0.5, up_after_s=1.0, down_after_s=3.0)


def levels(waits: list[tuple[float, float]]) -> list[int]:
    ladder = DegradationLadder(LADDER)
    seen = []
    for now, wait in waits:
        ladder.observe(now, wait)
        seen.append(int(ladder.level))
    return seen


def test_a_short_peak_changes_nothing() -> None:
    assert levels([(0.0, 5.0), (0.9, 5.0), (1.0, 0.9), (1.5, 5.0), (2.0, 5.0)]) == [0, 0, 0, 0, 0]


def test_lasting_overload_raises_the_level_step_by_step_up_to_the_highest() -> None:
    assert levels([(float(second), 9.0) for second in range(7)]) == [0, 1, 2, 3, 4, 4, 4]


def test_the_level_falls_more_slowly_than_it_rises() -> None:
    up = [(0.0, 9.0), (1.0, 9.0), (2.0, 9.0)]
    down = [(float(second), 0.1) for second in range(3, 11)]
    assert levels(up + down)[-1] == 0
    assert levels(up + down)[3:9] == [2, 2, 2, 1, 1, 1]


def test_between_the_two_thresholds_the_level_stays() -> None:
    assert levels([(0.0, 9.0), (1.0, 9.0)] + [(float(second), 0.7) for second in range(2, 60)])[-1] == 1


# --- capacity


def test_a_faster_machine_holds_more_meetings() -> None:
    def total(scale: float) -> int:
        return plan(
            lambda is_final, seconds: scale * seconds * (0.05 if is_final else 0.02),
            max_concurrency=1,
            live=0,
            partial_interval_s=0.5,
            level=Level.NORMAL,
            predicted_wait_s=0.0,
        ).total

    assert total(0.5) >= 2 * total(1.0) - 1
    assert total(1.0) >= 1


def test_more_meetings_fit_with_slower_captions_than_comfortably() -> None:
    planned = plan(
        lambda is_final, seconds: seconds * 0.03,
        max_concurrency=2,
        live=3,
        partial_interval_s=0.5,
        level=Level.NORMAL,
        predicted_wait_s=0.0,
    )
    assert planned.comfortable < planned.total
    assert planned.more == planned.total - 3


def test_an_overloaded_server_admits_no_more_meetings_whatever_the_plan() -> None:
    planned = plan(
        lambda is_final, seconds: 0.001,
        max_concurrency=1,
        live=0,
        partial_interval_s=0.5,
        level=Level.NO_NEW_MEETINGS,
        predicted_wait_s=9.0,
        max_meetings=50,
    )
    assert planned.more == 0
