"""An event loop whose clock stops while code runs, and jumps to the next timer when nothing is left to do.

Tests of deadlines, stalls and slow engines take no time with it and always end in the same way.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Runs blocking work on its own thread, and lets it take as long as `duration_s` says."""

    def __init__(self, duration_s: Callable[[], float] = lambda: 0.0) -> None:
        """`duration_s` is asked for each piece of work that is given to an executor."""
        self._now_s = 0.0
        self._duration_s = duration_s
        super().__init__(_JumpingSelector(self.advance))

    def time(self) -> float:
        """Return the virtual seconds since the loop was made."""
        return self._now_s

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self._now_s += seconds

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], R], *args: *Ts
    ) -> asyncio.Future[R]:
        """Call `func` when its time has passed; the executor is not used."""
        answer: asyncio.Future[R] = self.create_future()

        def run() -> None:
            if answer.cancelled():
                return
            try:
                result = func(*args)
            except Exception as error:  # noqa: BLE001 - raised where it is awaited, as from a thread
                answer.set_exception(error)
            else:
                answer.set_result(result)

        self.call_later(self._duration_s(), run)
        return answer


class _JumpingSelector(selectors.BaseSelector):
    """Asks the operating system without waiting, and moves the clock instead."""

    def __init__(self, advance: Callable[[float], None]) -> None:
        self._selector = selectors.DefaultSelector()
        self._advance = advance

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._selector.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._selector.unregister(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return self._selector.select()
        ready = self._selector.select(0)
        if not ready and timeout > 0:
            self._advance(timeout)
        return ready

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._selector.get_map()

    def close(self) -> None:
        self._selector.close()
