"""Pages made from the code agree with it, and locks with what they are made from."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest

from meeting_assistant.web import protocol

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from scripts import write_docs  # noqa: E402

pytestmark = pytest.mark.docs

RUNTIME, DEV, BUILD, NODE = (
    "requirements.txt",
    "requirements-dev.txt",
    "requirements-build.txt",
    "requirements-node.txt",
)


def pins(name: str) -> dict[str, str]:
    """Package to version in a lock file."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9._-]+)==([^\s;]+)", text, re.MULTILINE))


# --- pages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", write_docs.PAGES)
def test_every_generated_page_is_current(page: str) -> None:
    assert (ROOT / page).read_text(encoding="utf-8") == write_docs.PAGES[page](), "run `make docs`"


def test_an_outdated_page_is_found(tmp_path: Path) -> None:
    for page, render in write_docs.PAGES.items():
        (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / page).write_text(render(), encoding="utf-8")
    assert write_docs.stale_pages(tmp_path) == []
    (tmp_path / "docs/reference/settings.md").write_text("yesterday's", encoding="utf-8")
    (tmp_path / ".env.example").unlink()
    assert write_docs.stale_pages(tmp_path) == [".env.example", "docs/reference/settings.md"]


def test_the_protocol_page_names_every_message_and_every_type_that_it_links_to() -> None:
    page = write_docs.protocol_markdown()
    schema = protocol.json_schema()
    for direction in ("client", "server"):
        for type_name in schema[direction]["discriminator"]["mapping"]:
            assert f"\n### `{type_name}`\n" in page
    for part in re.findall(r"\]\(#part-(\w+)\)", page):
        assert re.search(rf"^### Part: {part}$", page, re.MULTILINE | re.IGNORECASE), part


# --- locks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [RUNTIME, DEV, BUILD, NODE])
def test_a_lock_file_pins_every_package_by_hash(name: str) -> None:
    entries = re.split(r"\n(?=[a-z0-9])", (ROOT / name).read_text(encoding="utf-8"))[1:]
    assert entries
    assert [entry.split()[0] for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("name", [RUNTIME, DEV, BUILD, NODE])
def test_a_lock_file_has_no_addresses_or_paths(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"https?://|file:|--(extra-)?index-url|--find-links|[ =]/\w", text)


def test_development_uses_the_versions_of_the_runtime() -> None:
    runtime, dev = pins(RUNTIME), pins(DEV)
    assert {name: dev.get(name) for name in runtime} == runtime


def test_the_build_uses_the_versions_of_development() -> None:
    build, dev = pins(BUILD), pins(DEV)
    assert all(dev[name] == version for name, version in build.items() if name in dev)


def test_every_dependency_of_the_project_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    direct = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[\[<>=!~ ;]", line)[0].lower().replace("_", "-") for line in direct}
    assert names - set(pins(DEV)) == set()


def test_the_runtime_needs_no_deep_learning_framework() -> None:
    assert set(pins(RUNTIME)) & {"torch", "tensorflow", "jax", "transformers"} == set()
