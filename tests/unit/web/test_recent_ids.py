"""Ids are remembered for as long as a recorded request could be sent again."""

from __future__ import annotations

from meeting_assistant.web.recent_ids import RecentIds


def test_an_id_is_accepted_once_while_it_is_remembered() -> None:
    now_s = 0.0
    recent = RecentIds(10, lambda: now_s)
    assert recent.add("a")
    now_s = 9.9
    assert not recent.add("a")
    assert recent.add("b")
    now_s = 19.8  # "b" is 9.9 s old
    assert not recent.add("b")


def test_an_id_is_forgotten_in_the_end() -> None:
    now_s = 0.0
    recent = RecentIds(10, lambda: now_s)
    for step in range(100):
        now_s = step * 1.0
        assert recent.add(f"{step}")
        assert len(recent._newer) + len(recent._older) <= 20
    now_s += 21
    assert recent.add("99")
