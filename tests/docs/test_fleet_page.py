"""The page of the fleet protocol names every message of the models, and every part that it links to."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import get_args

import pytest

from meeting_assistant.services.fleet import messages

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.fleet_page import fleet_markdown

pytestmark = pytest.mark.docs


def test_the_page_has_a_section_for_every_message() -> None:
    page = fleet_markdown()
    unions = (messages.TransientBody, messages.NumberedBody, messages.GatewayMessage)
    for model in (model for union in unions for model in get_args(union)):
        assert f"\n### `{model.model_fields['type'].default}`\n" in page


def test_every_section_that_the_page_links_to_exists() -> None:
    page = fleet_markdown()
    linked = set(re.findall(r"\]\(#part-(\w+)\)", page))
    assert linked
    for part in linked:
        assert re.search(rf"^### Part: {part}$", page, re.MULTILINE | re.IGNORECASE), part


def test_every_field_of_a_message_has_a_readable_type() -> None:
    assert "| any" not in fleet_markdown()
