"""A server that does not answer costs a few attempts, then nothing for a while, each time longer."""

from __future__ import annotations

import pytest

from meeting_assistant.domain.errors import LlmError
from meeting_assistant.services.llm.circuit_breaker import LONGEST_REST_S, REST_S, CircuitBreaker

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
        breaker.note(DEAD)


def test_three_attempts_are_enough_whichever_questions_they_belong_to(breaker: CircuitBreaker) -> None:
    fail(breaker, 2)
    assert breaker.refuses() is None
    fail(breaker)
    assert breaker.refuses() is DEAD


def test_an_answer_forgives(breaker: CircuitBreaker) -> None:
    fail(breaker, 2)
    breaker.note(None)
    fail(breaker, 2)
    assert breaker.refuses() is None


def test_an_answer_that_cannot_be_used_is_an_answer(breaker: CircuitBreaker) -> None:
    fail(breaker, 2)
    breaker.note(LlmError("Cut off.", code="llm_truncated"))
    fail(breaker, 2)
    assert breaker.refuses() is None


def test_what_was_never_sent_says_nothing_of_the_server(breaker: CircuitBreaker) -> None:
    fail(breaker, 2)
    breaker.note(LlmError("Not recorded.", code="llm_not_recorded"))
    fail(breaker)
    assert breaker.refuses() is DEAD


def test_after_its_rest_one_question_tries_for_all(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += REST_S
    assert breaker.refuses() is None
    assert breaker.refuses() is DEAD, "the second one does not wait for the first"
    breaker.note(None)
    assert breaker.refuses() is None
    assert breaker.refuses() is None


def test_a_question_that_was_given_up_leaves_the_trial_to_the_next(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    fail(breaker, 3)
    clock.now += REST_S
    assert breaker.refuses() is None
    breaker.forget()
    assert breaker.refuses() is None


def test_each_rest_is_longer_than_the_last_up_to_a_limit(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 3)
    rests = []
    for _ in range(6):
        began = clock.now
        while breaker.refuses() is not None:
            clock.now += 1
        rests.append(clock.now - began)
        fail(breaker)
    assert rests == [REST_S, 2 * REST_S, 4 * REST_S, 8 * REST_S, LONGEST_REST_S, LONGEST_REST_S]


def test_a_wrong_key_is_not_tried_three_times(breaker: CircuitBreaker) -> None:
    wrong = LlmError("The key was refused.", code="llm_auth")
    breaker.note(wrong)
    assert breaker.refuses() is wrong
