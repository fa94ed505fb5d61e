"""The circuit breaker stops requests to a failing server for increasing times."""

from __future__ import annotations

import pytest

from meeting_assistant.domain.errors import LlmError
from meeting_assistant.services.llm.circuit_breaker import LONGEST_OPEN_S, OPEN_S, CircuitBreaker

DEAD = LlmError("It did not answer.", code="llm_timeout")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(clock)


def fail(breaker: CircuitBreaker, times: int = 1) -> None:
    for _ in range(times):
        breaker.record(DEAD)


def test_three_failures_open_the_circuit_whichever_requests_they_belong_to(breaker: CircuitBreaker) -> None:
    fail(breaker, 2)
    assert breaker.before_call() is None
    fail(breaker)
    assert breaker.before_call() is DEAD


def test_a_success_resets_the_failures(breaker: CircuitBreaker) -> None:
    fail(breaker, 2)
    breaker.record(None)
    fail(breaker, 2)
    assert breaker.before_call() is None


def test_an_unusable_answer_counts_as_an_answer(breaker: CircuitBreaker) -> None:
    fail(breaker, 2)
    breaker.record(LlmError("Cut off.", code="llm_truncated"))
    fail(breaker, 2)
    assert breaker.before_call() is None


def test_a_request_that_was_never_sent_does_not_count(breaker: CircuitBreaker) -> None:
    fail(breaker, 2)
    breaker.record(LlmError("Not recorded.", code="llm_not_recorded"))
    fail(breaker)
    assert breaker.before_call() is DEAD


def test_a_half_open_circuit_allows_one_trial_request(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += OPEN_S
    assert breaker.before_call() is None
    assert breaker.before_call() is DEAD, "the second one does not wait for the first"
    breaker.record(None)
    assert breaker.before_call() is None
    assert breaker.before_call() is None


def test_a_cancelled_trial_is_left_to_the_next_request(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += OPEN_S
    assert breaker.before_call() is None
    breaker.cancel()
    assert breaker.before_call() is None


def test_the_circuit_stays_open_longer_each_time_up_to_a_limit(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 3)
    open_for = []
    for _ in range(6):
        began = clock.now
        while breaker.before_call() is not None:
            clock.now += 1
        open_for.append(clock.now - began)
        fail(breaker)
    assert open_for == [OPEN_S, 2 * OPEN_S, 4 * OPEN_S, 8 * OPEN_S, LONGEST_OPEN_S, LONGEST_OPEN_S]


def test_an_invalid_key_opens_the_circuit_at_once(breaker: CircuitBreaker) -> None:
    wrong = LlmError("The key was refused.", code="llm_auth")
    breaker.record(wrong)
    assert breaker.before_call() is wrong
