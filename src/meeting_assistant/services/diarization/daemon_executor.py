"""An executor whose thread does not delay the end of the process."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class DaemonExecutor(Executor):
    """Runs one call at a time on a daemon thread.

    The interpreter joins the threads of a `ThreadPoolExecutor` at exit, however long their work takes; it does not
    join this one.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._pending: set[Future[object]] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Queue a call. Raises RuntimeError after `shutdown`."""
        future: Future[R] = Future()

        def run() -> None:
            self._pending.discard(future)
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - handed to the caller that awaits the result
                future.set_exception(error)

        with self._lock:
            if self._is_closed:
                raise RuntimeError("This executor was shut down.")
            self._pending.add(future)  # type: ignore[arg-type]
            self._calls.put(run)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = True) -> None:
        """Accept no more calls and drop those that wait. Idempotent.

        A running call may go on until the process ends.
        """
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._calls.put(None)
        if cancel_futures:
            for future in list(self._pending):
                future.cancel()
        if wait and self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while (run := self._calls.get()) is not None:
            run()
