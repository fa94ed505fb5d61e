"""`doctor` names a Python with known holes, and the release that is without them."""

from __future__ import annotations

import pytest

from meeting_assistant.cli.doctor import check_python


@pytest.mark.parametrize(
    ("version", "remedy"),
    [((3, 11, 7), "3.11.10"), ((3, 11, 9), "3.11.10"), ((3, 12, 5), "3.12.6")],
)
def test_an_old_python_is_named_with_its_holes(version: tuple[int, int, int], remedy: str) -> None:
    check = check_python(version)
    assert (check.ok, check.optional) == (False, True)
    assert "CVE-2024-7592" in check.detail
    assert remedy in check.remedy


@pytest.mark.parametrize("version", [(3, 11, 10), (3, 12, 6), (3, 13, 0), (3, 14, 2)])
def test_a_python_without_them_is_content(version: tuple[int, int, int]) -> None:
    assert check_python(version).ok
