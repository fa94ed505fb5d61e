"""Links within the repository lead somewhere, and every page of the documentation can be found from its index."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
INDEX = DOCS / "README.md"
PAGES = sorted(DOCS.rglob("*.md"))
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
NAMED = re.compile(r"\bdocs/[\w/.-]+\.(?:md|png)")


def text_of(page: Path) -> str:
    """Return a page without its code blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "page", [*PAGES, *ROOT.glob("*.md")], ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_links_point_to_existing_files_and_headings(page: Path) -> None:
    broken = []
    for target, anchor in LINK.findall(text_of(page)):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(f"{target}#{anchor}")
    assert broken == []


def test_the_index_links_every_page() -> None:
    linked = {(DOCS / target).resolve() for target, _ in LINK.findall(text_of(INDEX)) if target}
    decisions = DOCS / "decisions"
    assert [
        str(page.relative_to(DOCS))
        for page in PAGES
        if page not in linked and page != INDEX and page.parent != decisions
    ] == []
    assert decisions / "README.md" in linked


def test_the_index_of_decisions_links_every_decision() -> None:
    folder = DOCS / "decisions"
    linked = {target for target, _ in LINK.findall(text_of(folder / "README.md"))}
    assert {page.name for page in folder.glob("0*.md")} <= linked


def test_every_page_that_code_and_configuration_name_exists() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    missing = []
    for name in listed.stdout.splitlines():
        file = ROOT / name
        if name.startswith(("benchmarks/results/", "tests/")) or name == "CHANGELOG.md" or not file.is_file():
            continue
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        missing += [f"{name}: {page}" for page in NAMED.findall(text) if not (ROOT / page).exists()]
    assert missing == []
