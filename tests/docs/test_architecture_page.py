"""The page about the architecture names the packages, modules and functions that exist, and all packages."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src/meeting_assistant"
PAGE = (ROOT / "docs/explanation/architecture.md").read_text(encoding="utf-8")
GLOSSARY = (ROOT / "docs/explanation/glossary.md").read_text(encoding="utf-8")
STEP = re.compile(r"^\| (\d+) \| `([\w/]+\.py)` \| `([\w.]+)` \|", re.MULTILINE)
LONGEST_WALK = 14


def walk(title: str) -> list[tuple[str, str]]:
    """Return module and function of each step of a walk."""
    section = PAGE.split(title)[1].split("\n## ")[0]
    return [(module, function) for _, module, function in STEP.findall(section)]


def defined(module: str) -> set[str]:
    """Return the functions and methods of a module, methods with their class."""
    names: set[str] = set()
    for node in ast.parse((SOURCE / module).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names |= {
                f"{node.name}.{method.name}"
                for method in node.body
                if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return names


def test_the_table_lists_all_packages_and_no_others() -> None:
    table = PAGE.split("## Packages")[1].split("\n## ")[0]
    listed = set(re.findall(r"^\| `([\w/]+)` \|", table, re.MULTILINE))
    packages = {
        str(path.parent.relative_to(SOURCE))
        for path in SOURCE.rglob("__init__.py")
        if path.parent != SOURCE and "versions" not in path.parts
    }
    assert listed == packages


def test_every_step_of_the_walks_exists() -> None:
    steps = walk("## Walk 1") + walk("## Walk 2")
    missing = [
        f"{module}: {function}"
        for module, function in steps
        if not (SOURCE / module).is_file() or function not in defined(module)
    ]
    assert missing == []


def test_a_chunk_crosses_at_most_fourteen_functions() -> None:
    chunk = walk("## Walk 1")
    assert chunk[0][0].startswith("web/sockets/")
    assert chunk[-1][0].startswith("services/events/")
    assert 0 < len(chunk) <= LONGEST_WALK


def test_classes_that_the_walks_mention_exist() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    mentioned = set(re.findall(r"`([A-Z]\w+)(?:\.(\w+))?`", PAGE))
    missing = [
        name
        for name, method in mentioned
        if not re.search(rf"^class {name}\b", text, re.MULTILINE) or (method and f"def {method}(" not in text)
    ]
    assert missing == []


def test_the_glossary_names_modules_that_exist() -> None:
    named = re.findall(r"\| `([\w/]+(?:\.py)?)` \|$", GLOSSARY.split("## Units")[0], re.MULTILINE)
    assert len(named) > 50
    assert [name for name in named if not (SOURCE / name).exists()] == []
