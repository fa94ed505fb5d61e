"""Optional parameters that a server refuses: left out one at a time, remembered for a while, then sent again. Pure.

Servers with the same interface differ in what they take. Which ones refuse what is not listed anywhere: each is asked
in full first, and what it refuses is left out when the request is made again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

REMEMBERED_S = 3600.0
"""Servers are updated, and models are exchanged: after this time the parameter is sent again."""
OUTAGE_S = 60.0
"""An internal error may be an outage: what did not help then may help soon after."""
_ENOUGH_REFUSALS = 2
"""A single refusal that does not say what it is about may have had another cause."""


@dataclass(frozen=True, slots=True)
class OptionalParameter:
    """A part of a request that a server can do without."""

    name: str
    steps: tuple[str, ...]
    """What is left out, in order: some parameters have weaker forms before they go altogether."""
    may_crash: bool = False
    """Some servers answer it with an internal error instead of a refusal."""


class OptionalParameters:
    """What one server has refused and accepted, for each model."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """`now`: seconds of a clock that never goes back."""
        self._now = now
        self._left_out: dict[tuple[str, str], float] = {}
        """Model and step, until when."""
        self._accepted: dict[tuple[str, str], float] = {}
        self._refusals: Counter[tuple[str, str]] = Counter()
        """How often a request was accepted once the step was left out, after a refusal that named nothing."""
        self._crashes: Counter[str] = Counter()
        """Internal errors in a row, as many steps as the next request leaves out."""
        self._searched: dict[str, float] = {}
        """Models for which leaving everything out did not help, until when that is believed."""

    def begin(self, model: str, offered: Sequence[OptionalParameter]) -> ParameterSearch:
        """Return which of the offered parameters a request leaves out; it reports back how the request went."""
        return ParameterSearch(self, model, offered)

    def remembered(self, model: str, offered: Iterable[OptionalParameter]) -> set[str]:
        """Return the steps that are known to be refused now."""
        return {
            step
            for parameter in offered
            for step in parameter.steps
            if self._left_out.get((model, step), 0.0) > self._now()
        }

    def suspects(self, model: str, offered: Iterable[OptionalParameter]) -> list[str]:
        """Return the steps of each parameter that come before one which was accepted lately: those may be refused."""
        return [
            step
            for parameter in offered
            for step in takewhile(
                lambda step: self._accepted.get((model, step), 0.0) <= self._now(), parameter.steps
            )
        ]

    def crashes(self, model: str) -> int:
        """Return how many internal errors without an explanation came in a row."""
        return self._crashes[model]

    def note_crash(self, model: str, most: int) -> None:
        """Count an internal error; after `most`, the request is made in full again."""
        self._crashes[model] = (self._crashes[model] + 1) % (most + 1)

    def may_search(self, model: str) -> bool:
        """Return False while it is known that leaving parameters out does not help."""
        return self._searched.get(model, 0.0) <= self._now()

    def note_search_failed(self, model: str, believed_s: float) -> None:
        """Note that leaving everything out did not help."""
        self._searched[model] = self._now() + believed_s

    def note_accepted(
        self,
        model: str,
        *,
        sent: Iterable[str],
        refused: Iterable[str],
        suspected: Sequence[str],
        refusals: int,
    ) -> None:
        """Take down a request that was accepted.

        `sent`: steps that it contained. `refused`: steps that it left out because the server named them. `suspected`:
        those that it left out because of `refusals` refusals that named nothing.
        """
        until = self._now() + REMEMBERED_S
        self._crashes[model] = 0
        for step in sent:
            self._accepted[model, step] = until
            self._refusals.pop((model, step), None)  # in one step: several threads may ask one server
        for step in refused:
            self._left_out[model, step] = until
        for step in suspected:
            self._refusals[model, step] += refusals
            if self._refusals[model, step] >= _ENOUGH_REFUSALS:
                self._left_out[model, step] = until


class ParameterSearch:
    """One request that is repeated with less, until the server accepts it."""

    def __init__(self, memory: OptionalParameters, model: str, offered: Sequence[OptionalParameter]) -> None:
        self._memory = memory
        self._model = model
        self._offered = offered
        self._known = memory.remembered(model, offered)
        self._refused: list[str] = []
        self._suspected: list[str] = []
        self._refusals = 0
        crashes = memory.crashes(model)
        if crashes:
            self._suspected = self._crash_suspects()[:crashes]
            self._refusals = 1

    @property
    def left_out(self) -> frozenset[str]:
        """The steps that the request leaves out."""
        return frozenset([*self._known, *self._refused, *self._suspected])

    def leave_out(self, names: Sequence[str]) -> bool:
        """Leave out the next step of the first of these parameters that has one; False when none has."""
        named = (parameter for name in names for parameter in self._offered if parameter.name == name)
        step = next(self._steps_left(named), None)
        if step is None:
            return False
        self._refused.append(step)
        return True

    def leave_out_next(self, *, is_internal_error: bool = False) -> bool:
        """Leave out the next step of a parameter that was never accepted; False when nothing is left to try."""
        self._refusals += 1
        left = (step for step in self._suspects() if step not in self.left_out)
        step = next(left, None) if self._memory.may_search(self._model) else None
        if step is None:
            if self._suspected:
                believed_s = OUTAGE_S if is_internal_error else REMEMBERED_S
                self._memory.note_search_failed(self._model, believed_s)
            return False
        self._suspected.append(step)
        return True

    def accept(self) -> None:
        """Remember what was left out: the server accepted the request."""
        left_out = self.left_out
        self._memory.note_accepted(
            self._model,
            sent=[
                step
                for parameter in self._offered
                if (step := next((step for step in parameter.steps if step not in left_out), None))
            ],
            refused=self._refused,
            suspected=self._suspected,
            refusals=self._refusals,
        )

    def crash(self) -> None:
        """Let the next request leave out one step more: the server answered with an unexplained internal error."""
        self._memory.note_crash(self._model, len(self._crash_suspects()))

    def _suspects(self) -> list[str]:
        return self._memory.suspects(self._model, self._offered)

    def _crash_suspects(self) -> list[str]:
        crashing = [parameter for parameter in self._offered if parameter.may_crash]
        return [step for step in self._memory.suspects(self._model, crashing) if step not in self._known]

    def _steps_left(self, parameters: Iterable[OptionalParameter]) -> Iterator[str]:
        left_out = self.left_out
        return (step for parameter in parameters for step in parameter.steps if step not in left_out)
