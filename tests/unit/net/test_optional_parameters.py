"""What a server refuses is left out one at a time, remembered, and tried again later."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from meeting_assistant.net.optional_parameters import REMEMBERED_S, OptionalParameter, OptionalParameters

OFFERED = (
    OptionalParameter("effort", ("effort",)),
    OptionalParameter("temperature", ("temperature",)),
    OptionalParameter("format", ("schema", "json"), may_crash=True),
)
STEPS = {step for parameter in OFFERED for step in parameter.steps}


class Server:
    """Refuses requests with some of the steps in them; every request is counted."""

    def __init__(self, refuses: Collection[str], *, names: bool = True, crashes: bool = False) -> None:
        self.refuses = set(refuses)
        self.names = names
        self.crashes = crashes
        self.requests: list[frozenset[str]] = []
        self.now = 0.0
        self.memory = OptionalParameters(lambda: self.now)

    def ask(self, model: str = "m") -> bool:
        """Make a request as adapters do; True when it was accepted."""
        search = self.memory.begin(model, OFFERED)
        while True:
            self.requests.append(search.left_out)
            refused = self.refuses & (_sent(search.left_out) if self.refuses != STEPS else STEPS)
            if not refused:
                search.accept()
                return True
            if self.crashes:
                search.crash()
                return False
            named = [p.name for p in OFFERED if refused & set(p.steps)]
            if not (search.leave_out(named) if self.names else search.leave_out_next()):
                return False


def _sent(left_out: Collection[str]) -> set[str]:
    """The steps that a request contains: of each parameter the strongest form that is not left out."""
    firsts = (next((step for step in p.steps if step not in left_out), None) for p in OFFERED)
    return {step for step in firsts if step is not None}


def test_a_parameter_that_is_named_is_left_out_and_remembered() -> None:
    server = Server({"temperature"})
    assert server.ask()
    assert server.ask()
    assert server.requests == [frozenset(), {"temperature"}, {"temperature"}]


def test_a_weaker_form_is_tried_before_none() -> None:
    server = Server({"schema"})
    assert server.ask()
    assert server.requests[-1] == {"schema"}


def test_several_are_left_out_one_after_the_other() -> None:
    server = Server({"schema", "json", "effort"})
    assert server.ask()
    assert server.requests[-1] == {"schema", "json", "effort"}
    assert [len(left_out) for left_out in server.requests] == [0, 1, 2, 3]


def test_after_an_hour_everything_is_sent_again() -> None:
    server = Server({"temperature"})
    server.ask()
    server.refuses.clear()
    server.now += REMEMBERED_S + 1
    server.ask()
    assert server.requests[-1] == frozenset()


def test_each_model_of_a_server_is_remembered_by_itself() -> None:
    server = Server({"temperature"})
    server.ask("one")
    server.ask("other")
    assert server.requests[2] == frozenset()


def test_an_unnamed_refused_parameter_is_found_by_trying() -> None:
    server = Server({"schema"}, names=False)
    assert server.ask()
    assert server.requests[-1] == {"effort", "temperature", "schema"}


def test_one_refusal_that_names_nothing_changes_nothing_for_good() -> None:
    server = Server({"effort"}, names=False)
    assert server.ask()
    server.refuses.clear()
    assert server.ask()
    assert server.requests[-1] == frozenset(), "it may have been about something else"


def test_a_second_refusal_that_names_nothing_is_remembered() -> None:
    server = Server({"effort"}, names=False)
    assert all(server.ask() for _ in range(3))
    assert [len(left_out) for left_out in server.requests] == [0, 1, 0, 1, 1]


def test_accepted_parameters_are_not_blamed_for_a_later_failure() -> None:
    server = Server(set(), names=False)
    server.ask()
    server.refuses = {"effort"}
    assert not server.ask()
    assert server.requests == [frozenset(), frozenset()]


@pytest.mark.parametrize("names", [True, False])
def test_if_omitting_parameters_does_not_help_nothing_is_remembered(names: bool) -> None:
    server = Server(STEPS, names=names)
    assert not server.ask()
    first = len(server.requests)
    assert not server.ask()
    assert server.requests[first] == frozenset()
    if not names:
        assert len(server.requests) == first + 1, "it is known that leaving parameters out does not help"


def test_after_an_internal_error_the_next_request_is_made_with_less() -> None:
    server = Server({"schema"}, crashes=True)
    asked = [server.ask() for _ in range(5)]
    assert asked == [False, True, False, True, True]
    assert server.requests[-1] == {"schema"}


def test_internal_errors_that_are_about_nothing_change_nothing() -> None:
    server = Server(STEPS, crashes=True)
    assert not any(server.ask() for _ in range(4))
    assert [len(left_out) for left_out in server.requests] == [0, 1, 2, 0]
    server.refuses.clear()
    server.ask()
    server.ask()
    assert server.requests[-1] == frozenset()
