"""What a gateway does with each message about a job: the rules that keep results in order and fence late ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meeting_assistant.domain.jobs import FLEET_PROTOCOL_VERSION, JobKind
from meeting_assistant.services.fleet import job_state
from meeting_assistant.services.fleet.job_state import AudioFailed, JobState, decide
from meeting_assistant.services.fleet.messages import (
    DeadLettered,
    Done,
    Failed,
    Hello,
    NameSpeaker,
    NumberedBody,
    Progress,
    TransientBody,
    WorkerMessage,
)

NEW = JobState(JobKind.LIVE_SESSION, "offer")
AT_WORK = replace(NEW, attempt="second", past=frozenset({"first"}), sequence=8, number=3, has_progress=True)
RESULT = NameSpeaker(label="S1", name="Ana")
FAILED = Failed(code="engine_failed", message="It failed.", remedy="Try again.")


def message(
    body: TransientBody | NumberedBody, number: int = 0, attempt: str = "second", sequence: int = 9
) -> WorkerMessage:
    return WorkerMessage(meeting_id="m", attempt=attempt, sequence=sequence, number=number, body=body)


def hello(
    attempt: str,
    job: JobKind = JobKind.LIVE_SESSION,
    protocol: int = FLEET_PROTOCOL_VERSION,
    offer: str = "offer",
) -> WorkerMessage:
    body = Hello(worker="w", job=job, offer=offer, lease="lease", engines={}, protocol=protocol)
    return message(body, attempt=attempt, sequence=1)


def dead(offer: str = "offer") -> WorkerMessage:
    return message(DeadLettered(job=JobKind.LIVE_SESSION, offer=offer), attempt="")


def test_the_first_hello_starts_an_attempt() -> None:
    state, action = decide(NEW, hello("first"))
    assert state == replace(NEW, attempt="first", sequence=1)
    assert action == job_state.Start("first", is_takeover=False)


def test_a_later_hello_takes_over_and_restarts_the_numbering() -> None:
    state, action = decide(AT_WORK, hello("third"))
    assert (state.attempt, state.sequence, state.number) == ("third", 1, 0)
    assert action == job_state.Start("third", is_takeover=True)


@pytest.mark.parametrize("attempt", ["first", "second"])
def test_a_replayed_hello_starts_no_attempt(attempt: str) -> None:
    state, action = decide(AT_WORK, hello(attempt))
    assert state == AT_WORK
    assert action == (job_state.Ignore() if attempt == "second" else job_state.Fence())


def test_a_hello_about_an_earlier_offer_is_fenced() -> None:
    assert decide(AT_WORK, hello("third", offer="before")) == (AT_WORK, job_state.Fence())


def test_after_a_new_offer_holders_of_the_previous_one_are_fenced() -> None:
    offered = AT_WORK.with_offer("next")
    for late in (hello("second"), hello("third"), message(RESULT, 4), dead()):
        assert decide(offered, late) == (offered, job_state.Fence())
    assert decide(offered, hello("third", offer="next"))[1] == job_state.Start("third", is_takeover=True)


@pytest.mark.parametrize("sequence", [1, 8])
def test_a_replayed_message_is_dropped(sequence: int) -> None:
    caption = message(Progress(share=0.5), sequence=sequence)
    assert decide(AT_WORK, caption) == (AT_WORK, job_state.Ignore())


@pytest.mark.parametrize(
    "about_another_job",
    [
        hello("third", JobKind.IDENTIFY_SPEAKERS),
        message(DeadLettered(job=JobKind.IDENTIFY_SPEAKERS, offer="offer")),
    ],
)
def test_a_message_about_another_job_of_the_meeting_is_ignored(about_another_job: WorkerMessage) -> None:
    assert decide(AT_WORK, about_another_job) == (AT_WORK, job_state.Ignore())


def test_a_worker_of_another_version_is_named_and_the_job_is_offered_again() -> None:
    state, action = decide(AT_WORK, hello("third", protocol=FLEET_PROTOCOL_VERSION + 1))
    assert state.attempt is None
    assert isinstance(action, job_state.Refuse)
    assert action.error.code == "version_mismatch"
    assert "The worker w speaks version" in action.error.message


def test_the_next_result_is_stored() -> None:
    state, action = decide(AT_WORK, message(RESULT, 4))
    assert state.number == 4
    assert action == job_state.Apply(RESULT)


@pytest.mark.parametrize("number", [1, 3])
def test_a_duplicate_result_is_dropped(number: int) -> None:
    state, action = decide(AT_WORK, message(RESULT, number))
    assert (state.number, action) == (3, job_state.Ignore())


def test_a_missing_result_ends_the_attempt() -> None:
    state, action = decide(AT_WORK, message(RESULT, 5))
    assert action == job_state.Withdraw()
    assert decide(state, message(RESULT, 4, sequence=10)) == (state, job_state.Fence())


@pytest.mark.parametrize("late", [message(RESULT, 4, "first"), message(Progress(share=0.5), 0, "first")])
def test_a_message_of_an_earlier_attempt_is_fenced(late: WorkerMessage) -> None:
    assert decide(AT_WORK, late) == (AT_WORK, job_state.Fence())


def test_transient_results_are_shown_without_a_number() -> None:
    state, action = decide(AT_WORK, message(Progress(share=0.5)))
    assert (state, action) == (replace(AT_WORK, sequence=9), job_state.Show(Progress(share=0.5)))


def test_a_job_is_complete_when_its_numbered_end_arrives() -> None:
    assert decide(AT_WORK, message(Done(), 4))[1] == job_state.Complete()
    assert decide(AT_WORK, message(Done(), 5))[1] == job_state.Withdraw()


def test_a_job_that_a_worker_cannot_do_fails_with_its_reason() -> None:
    assert decide(AT_WORK, message(FAILED, 4))[1] == job_state.Fail(FAILED)


def test_audio_that_the_gateway_cannot_read_fails_the_job_for_the_attempt_that_needs_it() -> None:
    assert decide(AT_WORK, AudioFailed("second", FAILED)) == (AT_WORK, job_state.Fail(FAILED))
    assert decide(AT_WORK, AudioFailed("first", FAILED)) == (AT_WORK, job_state.Ignore())


def test_a_dead_letter_fails_a_job_only_if_it_made_no_progress() -> None:
    state, action = decide(AT_WORK, dead())
    assert action == job_state.Ignore(), "the reconciler offers it again"
    assert (state.attempt, state.has_progress) == (None, False)
    state = state.with_offer("next")
    assert decide(state, dead("offer"))[1] == job_state.Fence(), "it was about the offer before"
    assert decide(state, dead("next"))[1] == job_state.GiveUp()


ARRIVALS = st.tuples(st.sampled_from(["first", "second", "third"]), st.integers(0, 4), st.booleans())


@given(st.lists(ARRIVALS))
def test_results_are_stored_in_order_and_exactly_once_whatever_arrives(
    arrivals: list[tuple[str, int, bool]],
) -> None:
    state = NEW
    stored: list[int] = []
    started: set[str] = set()
    for sequence, (attempt, number, is_hello) in enumerate(arrivals, start=1):
        arrived = hello(attempt) if is_hello else message(RESULT, number, attempt, sequence)
        before, action = state, decide(state, arrived)
        state = action[0]
        match action[1]:
            case job_state.Start():
                assert attempt not in started, "an attempt begins once"
                started.add(attempt)
                stored = []
            case job_state.Apply():
                assert before.attempt == attempt
                stored.append(number)
    assert stored == list(range(1, len(stored) + 1))
