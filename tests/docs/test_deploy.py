"""What `deploy/` says is true of the code: metrics, settings, commands."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from meeting_assistant import observability
from meeting_assistant.adapters.jobs.redis_figures import counted_by_faststream
from meeting_assistant.config import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
METRIC = re.compile(r"\b(?:meeting_assistant|process|python)_[a-z_]+")
NOT_OURS = {"PATH", "POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB", "PIP_NO_CACHE_DIR", "HF_HOME"}


def known_metrics() -> set[str]:
    assert observability.queue_depth
    assert counted_by_faststream()
    return {sample.name for family in REGISTRY.collect() for sample in family.samples} | {
        f"{family.name}{suffix}"
        for family in REGISTRY.collect()
        for suffix in ("", "_total", "_bucket", "_sum", "_count")
    }


@pytest.mark.parametrize("file", ["prometheus/alerts.yml", "grafana/meeting-assistant.json"])
def test_every_metric_that_is_named_exists(file: str) -> None:
    named = set(METRIC.findall((DEPLOY / file).read_text()))
    assert named
    assert named <= known_metrics()


def test_alert_rules_are_what_prometheus_takes() -> None:
    rules = [
        rule
        for group in yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"]
        for rule in group["rules"]
    ]
    assert all({"alert", "expr", "annotations"} <= rule.keys() for rule in rules)
    promtool = shutil.which("promtool")
    if (
        promtool is not None
    ):  # Debian has it in a package that brings a service along: not installed for a test
        subprocess.run(
            [promtool, "check", "rules", str(DEPLOY / "prometheus/alerts.yml")],
            check=True,
            capture_output=True,
        )


def test_the_dashboard_is_whole() -> None:
    panels = json.loads((DEPLOY / "grafana/meeting-assistant.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places)


def settings_of(document: Any) -> set[str]:
    """Names of variables anywhere in it."""
    if isinstance(document, dict):
        found = {str(document["name"])} if {"name", "value"} <= document.keys() else set()
        for key, value in document.items():
            if key == "environment" and isinstance(value, dict):
                found |= {name for name in value if name != "<<"}
            found |= settings_of(value)
        return found
    if isinstance(document, list):
        return set().union(*map(settings_of, document)) if document else set()
    return set()


@pytest.mark.parametrize("file", ["compose.yaml", "kubernetes/meeting-assistant.yaml"])
def test_every_setting_that_is_named_exists(file: str) -> None:
    named = settings_of(list(yaml.safe_load_all((DEPLOY / file).read_text()))) - NOT_OURS
    fields = set(Settings.model_fields)
    assert named
    assert {name for name in named if name.partition("__")[0].lower() not in fields} == set()


@pytest.mark.parametrize("file", sorted(path.name for path in (DEPLOY / "systemd").glob("*.service")))
def test_units_name_settings_and_commands_that_exist(file: str) -> None:
    unit = (DEPLOY / "systemd" / file).read_text()
    command = re.search(r"ExecStart=\S+ (\w+)", unit)
    assert command is not None
    assert command[1] in {"serve", "worker"}
    variables = re.findall(r"(\w+)=", re.findall(r"^Environment=(.*)$", unit, re.MULTILINE)[0])
    assert {name.lower() for name in variables} <= set(Settings.model_fields)


def test_the_image_is_built_from_what_is_there() -> None:
    root = DEPLOY.parent
    for line in (DEPLOY / "Dockerfile").read_text().splitlines():
        copied = re.match(r"COPY (?!--from)(.+) \S+$", line)
        for name in copied[1].split() if copied else ():
            assert (root / name).exists(), line
