"""The walk-through of `docs/extending.md` works as it is written."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest

from meeting_assistant.domain.workflows import DeliveryState
from meeting_assistant.integrations import registry
from meeting_assistant.testing.after_meeting import AfterMeeting

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")


async def test_the_integration_of_the_page_is_found_by_its_entry_point_and_delivers_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    entry = re.search(r'\[project\.entry-points\."(.*?)"\]\n(\w+) = "(.*?)"', PAGE)
    assert code is not None
    assert entry is not None
    module = ModuleType("my_package.diary")
    exec(code[1], module.__dict__)
    monkeypatch.setitem(__import__("sys").modules, "my_package.diary", module)
    monkeypatch.setitem(__import__("sys").modules, "my_package", ModuleType("my_package"))
    point = EntryPoint(group=entry[1], name=entry[2], value=entry[3])
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == entry[1] else [])

    assert registry.names()[-1] == "diary"
    diary = tmp_path / "diary.txt"
    async with AfterMeeting(tmp_path, {"diary": {"file": str(diary)}}) as after:
        done = await after.run()
        assert done.state is DeliveryState.DONE
        await after.integrations["diary"].deliver(done)
    assert diary.read_text().count(done.id) == 1
    assert diary.read_text().startswith("2026-11-24 Weekly & <search>: https://notes.example/#/meetings/")
