"""Blocking functions run on the given executor."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from meeting_assistant.net.blocking import run_blocking


async def test_a_call_runs_on_a_thread_of_the_executor_and_returns_its_result() -> None:
    def describe(word: str, *, times: int) -> tuple[str, str]:
        return threading.current_thread().name, word * times

    with ThreadPoolExecutor(1, thread_name_prefix="disk") as executor:
        assert await run_blocking(executor, describe, "a", times=3) == ("disk_0", "aaa")


async def test_an_exception_of_the_function_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        await run_blocking(None, lambda: 1 // 0)
