"""Who opens meetings and drops them does not keep others out."""

from __future__ import annotations

import pytest

from meeting_assistant.domain.errors import OverloadedError
from meeting_assistant.services.live.admission import MAX_WAITING, check_waiting


@pytest.mark.parametrize("more", [1, 2, 50])
def test_some_meetings_may_always_wait_for_their_clients(more: int) -> None:
    check_waiting(MAX_WAITING - 1, more=more)


def test_meetings_that_wait_do_not_outnumber_the_places_that_are_left() -> None:
    places = 10
    waiting = 0
    with pytest.raises(OverloadedError, match="wait for their clients"):
        for waiting in range(places):
            check_waiting(waiting, more=places - waiting)
    assert waiting == places // 2
