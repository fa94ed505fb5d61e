"""`GroupCommit` decides what to store and when, without an event loop, a clock or a disk."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from meeting_assistant.domain.errors import StorageError
from meeting_assistant.services.recording.group_commit import LONGEST_RETRY_S, BufferLimits, GroupCommit

FULL = StorageError("The disk is full.", "Free some space.", code="disk_full")
BROKEN = StorageError("The disk is broken.", "Replace it.", code="storage")
LIMITS = BufferLimits(tick_s=0.25, tail_bytes=400, max_pending_bytes=1000)


def journaled(start: int = 0) -> GroupCommit:
    return GroupCommit(start, has_journal=True, limits=LIMITS)


def in_memory(start: int = 0) -> GroupCommit:
    return GroupCommit(start, has_journal=False, limits=LIMITS)


def due(commits: GroupCommit) -> float | None:
    return commits.due_at


def attempt(commits: GroupCommit, now: float, *, error: StorageError | None = None) -> int:
    """Run one attempt at `now`; returns how many bytes it stored."""
    stored = commits.begin(now)
    if error is not None:
        commits.fail(error)
        return 0
    commits.stored(commits.safe_bytes + len(stored))
    if commits.unacknowledged is not None:
        commits.acknowledged(commits.unacknowledged)
    commits.succeed()
    return len(stored)


def test_without_audio_nothing_is_due() -> None:
    commits = journaled()
    assert due(commits) is None
    assert commits.is_flushed(commits.flush())


def test_the_first_audio_is_due_at_once_and_the_next_when_the_tick_is_over() -> None:
    commits = journaled()
    commits.append(b"ab")
    assert due(commits) == -math.inf
    assert attempt(commits, now=10.0) == 2
    assert due(commits) is None
    commits.append(b"cdef")
    assert due(commits) == 10.25
    assert attempt(commits, now=10.25) == 4


def test_an_attempt_writes_all_audio_received_during_the_previous_one() -> None:
    commits = journaled()
    commits.append(b"ab")
    assert commits.begin(0.0) == b"ab"
    commits.append(b"cd")
    commits.append(b"ef")
    commits.stored(2)
    commits.acknowledged(2)
    commits.succeed()
    assert commits.begin(0.25) == b"cdef"


def test_a_request_to_flush_skips_the_tick_once() -> None:
    commits = journaled()
    commits.append(b"ab")
    attempt(commits, now=1.0)
    commits.append(b"cd")
    flush = commits.flush()
    assert not commits.is_flushed(flush)
    commits.hurry()
    assert due(commits) == -math.inf
    attempt(commits, now=1.01)
    assert commits.is_flushed(flush)
    commits.append(b"ef")
    assert due(commits) == pytest.approx(1.26)


def test_a_flush_raises_the_error_of_its_own_attempt_and_not_of_an_older_one() -> None:
    commits = journaled()
    commits.append(b"ab")
    commits.begin(0.0)
    flush = commits.flush()
    commits.fail(FULL)
    assert not commits.is_flushed(flush), "the attempt began before the request"
    commits.begin(1.0)
    commits.fail(FULL)
    with pytest.raises(StorageError, match="full"):
        commits.is_flushed(flush)
    attempt(commits, now=2.0)
    assert commits.is_flushed(flush)


def test_retries_back_off_up_to_a_limit_and_a_success_restores_the_tick() -> None:
    commits = journaled()
    commits.append(b"ab")
    pauses = []
    for _ in range(20):
        attempt(commits, now=100.0, error=FULL)
        assert commits.due_at is not None
        pauses.append(commits.due_at - 100.0)
    assert pauses[:4] == [0.5, 1.0, 2.0, 4.0]
    assert set(pauses[4:]) == {LONGEST_RETRY_S}
    assert attempt(commits, now=200.0) == 2
    commits.append(b"cd")
    assert due(commits) == 200.25


def test_the_problem_names_a_full_disk_and_ends_with_the_first_success() -> None:
    commits = journaled()
    commits.append(b"ab")
    attempt(commits, now=0.0, error=BROKEN)
    assert (commits.problem, commits.failures) == ("failing", 1)
    attempt(commits, now=1.0, error=FULL)
    assert (commits.problem, commits.failures) == ("full", 2)
    attempt(commits, now=2.0)
    assert (commits.problem, commits.failures) == (None, 0)


def test_audio_stored_by_a_failed_attempt_is_not_written_again() -> None:
    commits = journaled()
    commits.append(b"abcdef")
    commits.begin(0.0)
    commits.stored(4)  # the journal took the first part of a long piece
    commits.fail(FULL)
    assert commits.begin(1.0) == b"ef"


def test_a_failed_acknowledgement_is_repeated_although_all_audio_is_stored() -> None:
    commits = journaled()
    commits.append(b"ab")
    commits.begin(0.0)
    commits.stored(2)
    commits.fail(BROKEN)
    assert due(commits) == 0.5
    assert commits.begin(0.5) == b""
    assert commits.unacknowledged == 2


def test_audio_beyond_the_limit_is_refused_and_waiting_audio_is_kept() -> None:
    commits = journaled()
    commits.append(bytes(1000))
    assert (commits.has_room, commits.is_drained) == (False, False)
    with pytest.raises(StorageError, match="wait to be written") as caught:
        commits.append(bytes(2))
    assert (caught.value.code, commits.received_bytes) == ("storage_behind", 1000)
    attempt(commits, now=0.0)
    assert (commits.has_room, commits.is_drained) == (True, True)
    commits.append(bytes(2))


def test_without_a_journal_stored_words_make_audio_safe_and_free_it() -> None:
    commits = in_memory(100)
    commits.append(bytes(600))
    assert (commits.due_at, commits.is_drained) == (None, False)
    assert commits.commit(500)
    assert not commits.commit(400), "what is safe only grows"
    assert (commits.safe_bytes, commits.tail_start, commits.is_drained) == (500, 500, True)
    assert commits.begin(0.0) == b""
    assert commits.unacknowledged == 500


def test_with_a_journal_stored_words_do_not_make_audio_safe() -> None:
    commits = journaled()
    commits.append(bytes(10))
    assert not commits.commit(10)
    assert commits.safe_bytes == 0


@given(st.lists(st.floats(0, 10, allow_nan=False), min_size=1, max_size=40))
def test_attempts_start_at_least_a_tick_apart(gaps: list[float]) -> None:
    commits, now, begun = journaled(), 0.0, []
    for gap in gaps:
        now += gap
        commits.append(b"ab")
        assert commits.due_at is not None
        now = max(now, commits.due_at)
        begun.append(now)
        attempt(commits, now)
    assert all(later - earlier >= 0.25 - 1e-9 for earlier, later in itertools.pairwise(begun))


class AnyOrder(RuleBasedStateMachine):
    """Audio, attempts and failures in any order, checked against the invariants of the module."""

    def __init__(self) -> None:
        super().__init__()
        self.commits = journaled()
        self.now = 0.0
        self.audio = b""
        self.journal = b""
        self.acknowledged = 0
        self.writing: bytes | None = None

    @rule(length=st.integers(0, 300))
    def append(self, length: int) -> None:
        start = len(self.audio)
        pcm = bytes((start + i) % 251 for i in range(length))
        if len(self.audio) - len(self.journal) + length <= LIMITS.max_pending_bytes:
            self.commits.append(pcm)
            self.audio += pcm
        elif self.writing is None:
            with pytest.raises(StorageError):
                self.commits.append(pcm)

    @precondition(lambda self: self.writing is None and self.commits.due_at is not None)
    @rule(is_hurried=st.booleans())
    def begin(self, is_hurried: bool) -> None:
        if is_hurried:
            self.commits.hurry()
        assert self.commits.due_at is not None
        self.now = max(self.now, self.commits.due_at)
        self.writing = self.commits.begin(self.now)
        assert self.writing == self.audio[len(self.journal) :]

    @precondition(lambda self: self.writing is not None)
    @rule(share=st.floats(0, 1), fails=st.booleans())
    def end(self, share: float, fails: bool) -> None:
        assert self.writing is not None
        stored = self.writing[: int(len(self.writing) * share)] if fails else self.writing
        self.journal += stored
        self.commits.stored(len(self.journal))
        if fails:
            self.commits.fail(FULL)
        else:
            if self.commits.unacknowledged is not None:
                assert self.commits.unacknowledged > self.acknowledged
                self.acknowledged = self.commits.unacknowledged
                self.commits.acknowledged(self.acknowledged)
            self.commits.succeed()
        self.writing = None

    @invariant()
    def nothing_is_lost_or_called_safe_too_soon(self) -> None:
        commits = self.commits
        assert commits.received_bytes == len(self.audio)
        assert self.acknowledged <= commits.safe_bytes == len(self.journal)
        assert commits.tail_start <= commits.safe_bytes
        tail = commits.read_tail(commits.tail_start, commits.received_bytes)
        assert tail == self.audio[commits.tail_start :]
        assert len(tail) <= LIMITS.max_pending_bytes + LIMITS.tail_bytes


TestAnyOrder = AnyOrder.TestCase
