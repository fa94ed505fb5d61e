"""The order of decoding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from meeting_assistant.domain.ports import AsrRequest
from meeting_assistant.services.asr.batching import (
    COALESCED,
    FILE_FLOOR,
    MAX_FILES_IN_BATCH,
    BatchRules,
    Shape,
    Ticket,
    TicketKind,
    TicketQueue,
)


def shape(request: AsrRequest) -> Shape:
    """Return the shape of a test window; its language names its bucket."""
    return Shape(request.language, len(request.samples))


ONE = BatchRules(shape)
EIGHT = BatchRules(shape, max_windows=8)


def ticket(
    session: str, kind: TicketKind, due_at: float = 0.0, *, bucket: str = "", samples: int = 1
) -> Ticket:
    request = AsrRequest(session, "partial", np.zeros(samples, np.float32), language=bucket)
    return Ticket(session, kind, due_at, lambda: request)


def sessions(queue: TicketQueue, rules: BatchRules = ONE) -> list[str]:
    """Return the sessions of the next batch."""
    return [ticket.session for ticket, _ in queue.take(rules).items]


def order(queue: TicketQueue) -> list[str]:
    """Return the sessions of all waiting tickets in the order in which they are served."""
    return [batch[0] for batch in iter(lambda: sessions(queue), [])]


def test_finals_precede_partials_and_partials_precede_files_whatever_their_deadlines() -> None:
    queue = TicketQueue()
    queue.put(ticket("file", TicketKind.FILE, 1.0))
    queue.put(ticket("partial", TicketKind.PARTIAL, 2.0))
    queue.put(ticket("final", TicketKind.FINAL, 9.0))
    assert order(queue) == ["final", "partial", "file"]


def test_within_a_kind_the_earliest_deadline_is_served_first() -> None:
    queue = TicketQueue()
    queue.put(ticket("late", TicketKind.PARTIAL, 5.0))
    queue.put(ticket("later", TicketKind.PARTIAL, 6.0))
    queue.put(ticket("urgent", TicketKind.PARTIAL, 4.0))
    assert order(queue) == ["urgent", "late", "later"]


def test_a_newer_partial_replaces_the_older_one_in_the_queue() -> None:
    queue = TicketQueue()
    older, newer = ticket("a", TicketKind.PARTIAL, 1.0), ticket("a", TicketKind.PARTIAL, 9.0)
    queue.put(older)
    queue.put(ticket("b", TicketKind.PARTIAL, 3.0))
    assert queue.put(newer) is older
    assert queue.take(ONE).items[0][0] is newer
    assert len(queue) == 1


def test_finals_are_never_coalesced() -> None:
    queue = TicketQueue()
    queue.put(ticket("a", TicketKind.FINAL, 1.0))
    queue.put(ticket("a", TicketKind.FINAL, 2.0))
    assert order(queue) == ["a", "a"]


def test_the_window_is_read_when_the_decode_starts() -> None:
    heard = [1]
    queue = TicketQueue()
    grows: Callable[[], AsrRequest] = lambda: AsrRequest("a", "partial", np.zeros(heard[0], np.float32))  # noqa: E731
    queue.put(Ticket("a", TicketKind.PARTIAL, 0.0, grows))
    heard[0] = 5
    assert len(queue.take(ONE).items[0][1].samples) == 5


def test_a_ticket_without_audio_takes_no_slot_of_a_batch() -> None:
    queue = TicketQueue()
    gone = Ticket("gone", TicketKind.PARTIAL, 0.0, lambda: None)
    queue.put(gone)
    queue.put(ticket("here", TicketKind.PARTIAL, 1.0))
    batch = queue.take(ONE)
    assert batch.stale == [gone]
    assert [ticket.session for ticket, _ in batch.items] == ["here"]
    assert len(queue) == 0


def test_a_batch_holds_only_windows_of_one_shape() -> None:
    queue = TicketQueue()
    queue.put(ticket("a", TicketKind.FINAL, 1.0, bucket="10s"))
    queue.put(ticket("b", TicketKind.FINAL, 2.0, bucket="30s"))
    queue.put(ticket("c", TicketKind.PARTIAL, 3.0, bucket="10s"))
    assert sessions(queue, EIGHT) == ["a", "c"]
    assert sessions(queue, EIGHT) == ["b"]


def test_padding_in_a_batch_is_bounded() -> None:
    queue = TicketQueue()
    for session in "abcd":
        queue.put(ticket(session, TicketKind.FINAL, samples=30))
    rules = BatchRules(shape, max_windows=8, max_padded_s=60)
    assert sessions(queue, rules) == ["a", "b"]
    assert sessions(queue, rules) == ["c", "d"]


def test_a_window_above_the_bound_is_decoded_alone() -> None:
    queue = TicketQueue()
    queue.put(ticket("long", TicketKind.FINAL, samples=90))
    assert sessions(queue, BatchRules(shape, max_windows=8, max_padded_s=60)) == ["long"]


def test_files_wait_while_they_are_not_admitted() -> None:
    queue = TicketQueue()
    queue.put(ticket("file", TicketKind.FILE))
    assert queue.take(EIGHT, may_take_files=False).items == []
    batch = queue.take(EIGHT)
    assert batch.has_files
    assert len(batch.items) == 1


def test_a_batch_holds_at_most_two_windows_of_files() -> None:
    queue = TicketQueue()
    for session in "abcd":
        queue.put(ticket(session, TicketKind.FILE))
    queue.put(ticket("live", TicketKind.PARTIAL))
    assert sessions(queue, EIGHT) == ["live", "a", "b"]
    assert len(sessions(queue, EIGHT)) == MAX_FILES_IN_BATCH


def test_files_do_not_starve_under_endless_live_load() -> None:
    queue = TicketQueue()
    queue.put(ticket("file", TicketKind.FILE))
    served = []
    for _ in range(FILE_FLOOR + 2):
        queue.put(ticket("live", TicketKind.FINAL))
        served += sessions(queue)
    assert "file" in served


def test_cancelling_a_session_drops_its_partials_but_not_its_finals() -> None:
    queue = TicketQueue()
    queue.put(ticket("a", TicketKind.FINAL))
    queue.put(ticket("a", TicketKind.PARTIAL))
    queue.put(ticket("b", TicketKind.PARTIAL))
    assert [t.kind for t in queue.cancel("a")] == [TicketKind.PARTIAL]
    assert order(queue) == ["a", "b"]


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(list(TicketKind)), st.floats(0, 100)), max_size=40
    ),
    st.integers(1, 8),
)
def test_every_ticket_is_served_once_unless_a_newer_one_replaced_it(
    requests: list[tuple[str, TicketKind, float]], most: int
) -> None:
    queue = TicketQueue()
    expected: set[Ticket] = set()
    for session, kind, due_at in requests:
        new = ticket(session, kind, due_at)
        replaced = queue.put(new)
        expected.add(new)
        if replaced is not None:
            assert replaced.kind in COALESCED
            expected.remove(replaced)
    rules = BatchRules(shape, max_windows=most)
    served = [t for batch in iter(lambda: queue.take(rules).items, []) for t, _ in batch]
    assert len(served) == len(set(served))
    assert set(served) == expected
