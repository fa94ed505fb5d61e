"""A thread for work that is not waited for when the process ends."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class DaemonExecutor(Executor):
    """Does one thing after another. A `ThreadPoolExecutor` would be joined at exit, however long its work takes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._waiting: set[Future[object]] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Raises RuntimeError after `shutdown`."""
        done: Future[R] = Future()

        def run() -> None:
            self._waiting.discard(done)
            if not done.set_running_or_notify_cancel():
                return
            try:
                done.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - whoever waits for the result gets it
                done.set_exception(error)

        with self._lock:
            if self._is_closed:
                raise RuntimeError("This thread takes no more work.")
            self._waiting.add(done)  # type: ignore[arg-type]
            self._work.put(run)
            if self._thread is None:
                self._thread = threading.Thread(target=self._follow, name=self._name, daemon=True)
                self._thread.start()
        return done

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = True) -> None:
        """What runs may go on until the process ends; what waits is dropped. Idempotent."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._work.put(None)
        if cancel_futures:
            for waiting in list(self._waiting):
                waiting.cancel()
        if wait and self._thread is not None:
            self._thread.join()

    def _follow(self) -> None:
        while (run := self._work.get()) is not None:
            run()
