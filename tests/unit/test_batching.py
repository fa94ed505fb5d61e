"""The order of decoding."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from meeting_assistant.services.batching import COALESCED, FILE_FLOOR, Ticket, TicketKind, TicketQueue


def ticket(session: str, kind: TicketKind, due_at: float = 0.0, key: str = "") -> Ticket:
    nothing: Callable[[], None] = lambda: None  # noqa: E731
    return Ticket(session, kind, due_at, nothing, key)


def order(queue: TicketQueue) -> list[str]:
    return [batch[0].session for batch in iter(lambda: queue.take(1), [])]


def test_finals_before_partials_before_files_whatever_their_deadlines() -> None:
    queue = TicketQueue()
    queue.put(ticket("file", TicketKind.FILE, 0.0))
    queue.put(ticket("partial", TicketKind.PARTIAL, 1.0))
    queue.put(ticket("final", TicketKind.FINAL, 9.0))
    assert order(queue) == ["final", "partial", "file"]


def test_inside_a_kind_the_room_most_behind_goes_first() -> None:
    queue = TicketQueue()
    for session, due_at in (("b", 2.0), ("c", 3.0), ("a", 1.0)):
        queue.put(ticket(session, TicketKind.FINAL, due_at))
    assert order(queue) == ["a", "b", "c"]


def test_a_newer_partial_takes_the_place_and_the_turn_of_the_older_one() -> None:
    queue = TicketQueue()
    older = ticket("a", TicketKind.PARTIAL, 1.0)
    newer = ticket("a", TicketKind.PARTIAL, 5.0)
    queue.put(older)
    queue.put(ticket("b", TicketKind.PARTIAL, 3.0))
    assert queue.put(newer) is older
    assert queue.take(1) == [newer]
    assert len(queue) == 1


def test_finals_of_one_session_all_stay() -> None:
    queue = TicketQueue()
    for due_at in (1.0, 2.0, 3.0):
        assert queue.put(ticket("a", TicketKind.FINAL, due_at)) is None
    assert len(queue) == 3


def test_a_batch_holds_only_compatible_tickets() -> None:
    queue = TicketQueue()
    queue.put(ticket("a", TicketKind.FINAL, 1.0, key="10s"))
    queue.put(ticket("b", TicketKind.FINAL, 2.0, key="30s"))
    queue.put(ticket("c", TicketKind.PARTIAL, 3.0, key="10s"))
    assert [t.session for t in queue.take(8)] == ["a", "c"]
    assert [t.session for t in queue.take(8)] == ["b"]


def test_files_do_not_starve_under_endless_live_load() -> None:
    queue = TicketQueue()
    queue.put(ticket("file", TicketKind.FILE))
    served = []
    for _ in range(FILE_FLOOR + 2):
        queue.put(ticket("live", TicketKind.FINAL))
        served.append(queue.take(1)[0].session)
    assert "file" in served


def test_cancelling_a_session_leaves_its_finals() -> None:
    queue = TicketQueue()
    queue.put(ticket("a", TicketKind.FINAL))
    queue.put(ticket("a", TicketKind.PARTIAL))
    assert [t.kind for t in queue.cancel("a")] == [TicketKind.PARTIAL]
    assert queue.waiting(TicketKind.FINAL) == 1


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(list(TicketKind)), st.integers(0, 9)), max_size=60
    )
)
def test_every_ticket_is_served_once_unless_a_newer_one_took_its_place(
    asked: list[tuple[str, TicketKind, int]],
) -> None:
    queue = TicketQueue()
    expected: set[Ticket] = set()
    for session, kind, due_at in asked:
        wanted = ticket(session, kind, float(due_at))
        expected.add(wanted)
        replaced = queue.put(wanted)
        if replaced is not None:
            assert replaced.kind in COALESCED
            expected.remove(replaced)
    served = [t for batch in iter(lambda: queue.take(4), []) for t in batch]
    assert len(served) == len(set(served))
    assert set(served) == expected
