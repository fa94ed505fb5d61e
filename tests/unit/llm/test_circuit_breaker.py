"""A server that does not answer costs a few attempts, then none for a while, each time longer."""

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


def test_three_attempts_are_enough_whichever_questions_they_belong_to(breaker: CircuitBreaker) -> None:
    fail(breaker, 2)
    assert breaker.before_call() is None
    fail(breaker)
    assert breaker.before_call() is DEAD


def test_an_answer_forgives(breaker: CircuitBreaker) -> None:
    fail(breaker, 2)
    breaker.record(None)
    fail(breaker, 2)
    assert breaker.before_call() is None


def test_an_answer_that_cannot_be_used_is_an_answer(breaker: CircuitBreaker) -> None:
    fail(breaker, 2)
    breaker.record(LlmError("Cut off.", code="llm_truncated"))
    fail(breaker, 2)
    assert breaker.before_call() is None


def test_what_was_never_sent_says_nothing_of_the_server(breaker: CircuitBreaker) -> None:
    fail(breaker, 2)
    breaker.record(LlmError("Not recorded.", code="llm_not_recorded"))
    fail(breaker)
    assert breaker.before_call() is DEAD


def test_when_half_open_one_question_tries_for_all(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += OPEN_S
    assert breaker.before_call() is None
    assert breaker.before_call() is DEAD, "the second one does not wait for the first"
    breaker.record(None)
    assert breaker.before_call() is None
    assert breaker.before_call() is None


def test_a_cancelled_question_leaves_the_trial_to_the_next(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += OPEN_S
    assert breaker.before_call() is None
    breaker.cancel()
    assert breaker.before_call() is None


def test_it_stays_open_for_longer_each_time_up_to_a_limit(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 3)
    open_for = []
    for _ in range(6):
        began = clock.now
        while breaker.before_call() is not None:
            clock.now += 1
        open_for.append(clock.now - began)
        fail(breaker)
    assert open_for == [OPEN_S, 2 * OPEN_S, 4 * OPEN_S, 8 * OPEN_S, LONGEST_OPEN_S, LONGEST_OPEN_S]


def test_a_wrong_key_is_not_tried_three_times(breaker: CircuitBreaker) -> None:
    wrong = LlmError("The key was refused.", code="llm_auth")
    breaker.record(wrong)
    assert breaker.before_call() is wrong
