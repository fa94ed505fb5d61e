"""Blocking work runs on the executor that it is given."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from meeting_assistant.net.blocking import run_blocking


async def test_it_runs_on_a_thread_of_the_executor_and_returns_the_result() -> None:
    def describe(word: str, *, times: int) -> tuple[str, str]:
        return threading.current_thread().name, word * times

    with ThreadPoolExecutor(1, thread_name_prefix="disk") as executor:
        assert await run_blocking(executor, describe, "a", times=3) == ("disk_0", "aaa")


async def test_it_raises_what_the_function_raises() -> None:
    with pytest.raises(ZeroDivisionError):
        await run_blocking(None, lambda: 1 // 0)
