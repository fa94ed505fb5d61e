"""Words that the glossary retires stay retired: `docs/explanation/glossary.md` is the only list of them."""

from __future__ import annotations

import re
import subprocess
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GLOSSARY = ROOT / "docs/explanation/glossary.md"
PLACES = ["src", "tests", "frontend/src", "benchmarks", "scripts", "docs", "deploy", "README.md"]
PLACES += ["CONTRIBUTING.md", "SECURITY.md"]
TEXTS = {".py", ".md", ".ts", ".svelte", ".css", ".html", ".yaml", ".yml", ".json", ".toml", ".sh"}
# The glossary lists the words, results of benchmarks are history, migrations describe a published schema, and the names
# of steps are values in the database.
EXCEPT = (
    "docs/explanation/glossary.md",
    "benchmarks/results/",
    "architecture/test_words.py",
    "migrations/versions/",
    "domain/steps.py",
)


def _retired() -> tuple[list[str], list[str]]:
    """Return the retired identifiers and phrases, as the last table of the glossary lists them."""
    table = GLOSSARY.read_text(encoding="utf-8").split("## Retired words")[1]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| ")][2:]
    identifiers, phrases = (
        [name for row in rows for name in re.findall(r"`([^`]+)`", row[n])] for n in (1, 2)
    )
    return identifiers, phrases


IDENTIFIERS, PHRASES = _retired()


@cache
def _files() -> dict[str, str]:
    listed = subprocess.run(
        ["git", "ls-files", *PLACES], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {
        name: (ROOT / name).read_text(encoding="utf-8")
        for name in listed.stdout.splitlines()
        if Path(name).suffix in TEXTS and not any(part in name for part in EXCEPT) and (ROOT / name).is_file()
    }


@cache
def _names() -> dict[str, list[str]]:
    """Map every name in Python code, without leading underscores, to the places where it occurs."""
    found: dict[str, list[str]] = {}
    for path in _files():
        if path.endswith(".py"):
            with (ROOT / path).open("rb") as source:
                for token in tokenize.tokenize(source.readline):
                    if token.type == tokenize.NAME:
                        found.setdefault(token.string.lstrip("_"), []).append(f"{path}:{token.start[0]}")
    return found


def _pattern(word: str) -> re.Pattern[str]:
    is_phrase = " " in word or word in PHRASES
    text = re.escape(word).replace(r"\*", r"\w*").replace(r"\ ", r"[\s_]+(?:# |\* |> )?")
    before = r"(?<![A-Za-z0-9])" if is_phrase else r"(?<![A-Za-z0-9_])_*"
    return re.compile(rf"{before}{text}(?![A-Za-z0-9_])", re.IGNORECASE if is_phrase else 0)


def _has_many_words(identifier: str) -> bool:
    return "_" in identifier.strip("_") or re.search(r"[a-z][A-Z]", identifier) is not None


def _occurrences(word: str) -> Iterator[str]:
    pattern = _pattern(word)
    if word in IDENTIFIERS:
        yield from (place for name, places in _names().items() if pattern.fullmatch(name) for place in places)
        if not _has_many_words(word):
            return
    for path, text in _files().items():
        for match in pattern.finditer(text):
            yield f"{path}:{text.count(chr(10), 0, match.start()) + 1}"


@pytest.mark.parametrize("word", sorted({*IDENTIFIERS, *PHRASES}))
def test_a_retired_word_does_not_occur(word: str) -> None:
    assert sorted(set(_occurrences(word))) == []


def test_a_retired_word_would_be_found() -> None:
    assert _pattern("set aside").search("it was set\naside here")
    assert _pattern("hear* out").search("Hears out")
    assert not _pattern("tidy").search("untidy")
    assert _pattern("tidied").fullmatch("_tidied")
