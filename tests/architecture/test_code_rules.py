"""Rules of the code base: layers, sizes, where the environment is read, what the page may contain."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MIGRATIONS = ROOT / "src/meeting_assistant/adapters/storage/migrations/versions"
"""They describe a published schema, and stay as they are."""
MAX_LINES = 400
MOST_LINES = 260
"""Nine of ten files are at most this long."""
MAX_FUNCTION_LINES = 60
MAX_ARGUMENTS = 7
"""Of a constructor, besides `self`. Dataclasses and models have fields instead."""


def test_layers_point_one_way() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_files_are_not_too_long() -> None:
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in SOURCES}
    assert {path: lines for path, lines in long.items() if lines > MAX_LINES} == {}


def test_test_files_are_not_too_long() -> None:
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in TESTS}
    assert {path: lines for path, lines in long.items() if lines > MAX_LINES} == {}


def test_most_files_are_short() -> None:
    lengths = sorted(
        len(path.read_text().splitlines()) for path in SOURCES if not path.is_relative_to(MIGRATIONS)
    )
    assert lengths[len(lengths) * 9 // 10] <= MOST_LINES


def test_functions_are_not_too_long() -> None:
    long = {
        f"{place}: {node.name}"
        for place, node in _nodes()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION_LINES
    }
    assert long == set()


def test_constructors_take_few_arguments() -> None:
    wide = {
        f"{place}: {node.name}"
        for place, node in _nodes()
        if isinstance(node, ast.ClassDef) and _constructor_arguments(node) > MAX_ARGUMENTS
    }
    assert wide == set()


def _nodes() -> Iterator[tuple[str, ast.AST]]:
    for path in SOURCES:
        if not path.is_relative_to(MIGRATIONS):
            place = str(path.relative_to(ROOT / "src/meeting_assistant"))
            yield from ((place, node) for node in ast.walk(ast.parse(path.read_text())))


def _constructor_arguments(node: ast.ClassDef) -> int:
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            arguments = member.args
            return len([*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]) - 1
    return 0


def test_test_files_have_unique_names() -> None:
    # pytest imports a test file by its name alone: of two with one name, the second is not collected.
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_the_environment_is_read_in_one_place() -> None:
    reads = re.compile(r"os\.environ|os\.getenv|from os import .*environ")
    readers = {
        str(path.relative_to(ROOT / "src/meeting_assistant"))
        for path in SOURCES
        if reads.search(path.read_text())
    }
    # `testing/` hands a cleaned environment to a child; the decoder's child gets an empty one.
    assert {name for name in readers if not name.startswith("config")} <= {
        "launcher.py",
        "testing/harness/fork_server.py",
        "adapters/audio/decoder.py",
    }


def test_a_developers_settings_do_not_reach_the_tests(
    monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    for name in ("API_TOKENS", "HF_TOKEN", "ORCHESTRATOR_BACKEND", "fleet__secret", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "a developer's own")
    conftest = pytestconfig.pluginmanager.getplugin(str(ROOT / "tests/conftest.py"))
    assert conftest is not None
    conftest.clear_settings()
    assert [name for name in os.environ if conftest.is_setting(name)] == []
    assert not Path(".env").exists(), "settings are read from the working directory, too"


def test_the_product_imports_httpx_in_one_file() -> None:
    users = [
        f"{path.parent.name}/{path.name}"
        for path in SOURCES
        if "testing" not in path.parts
        and re.search(r"^\s*(import httpx|from httpx)", path.read_text(), re.MULTILINE)
    ]
    assert users == ["net/http.py"]


def test_the_page_renders_text_as_text() -> None:
    pages = [*(ROOT / "frontend/src").rglob("*.svelte"), *(ROOT / "frontend/src").rglob("*.ts")]
    assert pages
    forbidden = re.compile(r"\{@html|\.innerHTML|insertAdjacentHTML|document\.write")
    assert [str(path) for path in pages if forbidden.search(path.read_text())] == []


def test_importing_the_command_line_loads_no_engine() -> None:
    code = (
        "import sys, meeting_assistant.cli\n"
        "heavy = {'onnxruntime', 'moonshine_voice', 'av', 'faster_whisper', 'ctranslate2', 'sqlalchemy', 'fastapi'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
