"""The web app's types are those of the server's models."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts import write_types

pytestmark = pytest.mark.docs


def schemas() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(write_types.document())["components"]["schemas"]
    return found


def test_the_types_of_the_web_app_are_current() -> None:
    assert write_types.is_current(), "run `make docs`"


def test_the_input_of_the_generator_is_deterministic() -> None:
    assert write_types.document() == write_types.document()


def test_fields_that_the_server_sends_are_required_and_clients_can_omit_defaults() -> None:
    meeting, start = schemas()["Meeting"], schemas()["StartMessage"]
    assert set(meeting["required"]) == set(meeting["properties"])
    assert set(start["required"]) == {"type", "sample_rate", "channels"}


def test_messages_of_the_live_protocol_have_unique_names() -> None:
    document = schemas()
    assert document["BookmarkMessage"] != document["Bookmark"]
    for union in ("ClientMessage", "ServerMessage"):
        names = [option["$ref"].rsplit("/", 1)[1] for option in document[union]["oneOf"]]
        assert all(name.endswith("Message") and "type" in document[name]["properties"] for name in names)
