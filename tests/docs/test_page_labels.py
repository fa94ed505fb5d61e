"""Labels of the web app that the tutorial and the guides print in bold exist in the web app."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs/tutorial").glob("*.md"), *(ROOT / "docs/how-to").glob("*.md")])


def labels() -> list[tuple[str, str]]:
    """Return pages and their bold phrases; a phrase with a full stop or a colon is a heading of its paragraph."""
    return [
        (page.stem, phrase)
        for page in PAGES
        for phrase in re.findall(r"\*\*([^*\n]+)\*\*", page.read_text(encoding="utf-8"))
        if not phrase.endswith((".", ":"))
    ]


@cache
def web_app() -> str:
    """Return the sources that contain text for people: components and modules, without tests and generated types."""
    sources = [*(ROOT / "frontend/src").rglob("*.svelte"), *(ROOT / "frontend/src").rglob("*.ts")]
    return "\n".join(
        source.read_text(encoding="utf-8")
        for source in sources
        if ".test." not in source.name and source.name != "schema.ts"
    )


def is_label(phrase: str) -> bool:
    """True when the phrase is a whole text or string of the web app; `…` stands for any name."""
    text = r"[^<>\n]{1,60}".join(map(re.escape, phrase.split("…")))
    return (
        re.search(rf"(?:^\s*|[>\"'`}}])\s*{text}(?=\s*(?:$|[<\"'`{{]))", web_app(), re.MULTILINE) is not None
    )


def test_the_guides_print_labels_in_bold() -> None:
    assert len(labels()) >= 15


@pytest.mark.parametrize(("page", "label"), labels())
def test_a_label_in_bold_exists_in_the_web_app(page: str, label: str) -> None:
    assert is_label(label), f"docs: {page} names {label!r}, which is no text of the web app"


def test_a_label_that_does_not_exist_would_be_found() -> None:
    assert not is_label("Launch the meeting")
    assert not is_label("Upload a record"), "a part of a label is none"
