"""The page as it was built: it works below any path."""

from __future__ import annotations

import os
import re
from importlib.resources import files

import pytest

pytestmark = pytest.mark.unit


def test_the_page_names_its_files_by_relative_addresses() -> None:
    index = files("meeting_assistant").joinpath("static", "index.html")
    if not index.is_file():
        message = "The page is not built: run `make setup`."
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    addresses = re.findall(r'\b(?:src|href)="([^"]+)"', index.read_text(encoding="utf-8"))
    assert [address for address in addresses if not address.startswith("./")] == []
    assert sum(address.startswith("./assets/") for address in addresses) >= 2
