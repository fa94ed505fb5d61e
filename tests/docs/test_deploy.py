"""The files in `deploy/` agree with the code and pass the checkers of their formats. No container engine is needed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from prometheus_client import REGISTRY

from meeting_assistant import observability
from meeting_assistant.adapters.jobs.redis_metrics import faststream_metrics
from meeting_assistant.adapters.jobs.redis_warnings import address_warnings
from meeting_assistant.adapters.storage.journal.keys import new_key
from meeting_assistant.cli import app
from meeting_assistant.config import Settings
from meeting_assistant.config.loading import load_settings
from meeting_assistant.services.admin.metric_definitions import Definition
from meeting_assistant.services.admin.metrics_catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PROGRAMS = Path(sys.executable).parent
METRIC = re.compile(r"\b(?:meeting_assistant|process|python)_[a-z_]+")
UNITS = sorted(path.name for path in (DEPLOY / "systemd").glob("*.service"))
OURS = "meeting-assistant:"
"""How the names of our own images begin."""


def checked(*command: str, cwd: Path = ROOT) -> str:
    """Run a checker, and fail with its output."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def read(file: str) -> Any:
    return yaml.safe_load((DEPLOY / file).read_text())


def services() -> dict[str, Any]:
    found: dict[str, Any] = read("compose.yaml")["services"]
    return found


# --- Prometheus and Grafana -------------------------------------------------------------------------------


def known_metrics() -> set[str]:
    assert observability.queue_depth
    assert faststream_metrics()
    assert faststream_metrics()
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


def test_prometheus_accepts_its_configuration_and_the_rules(promtool: str, tmp_path: Path) -> None:
    shutil.copytree(DEPLOY / "prometheus", tmp_path, dirs_exist_ok=True)
    (tmp_path / "token").write_text("a token")
    # In its container the folder is /etc/prometheus.
    config = (tmp_path / "prometheus.yml").read_text().replace("/etc/prometheus", str(tmp_path))
    (tmp_path / "prometheus.yml").write_text(config)
    assert "alerts.yml" in checked(promtool, "check", "config", "prometheus.yml", cwd=tmp_path)


def test_alerts_fire_exactly_when_they_should(promtool: str) -> None:
    checked(promtool, "test", "rules", "tests/docs/alerts.test.yaml")


def rules() -> dict[str, dict[str, Any]]:
    (group,) = read("prometheus/alerts.yml")["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def test_every_alert_has_a_summary_and_a_remedy() -> None:
    for name, rule in rules().items():
        assert rule["annotations"].keys() == {"summary", "action"}, name
        assert rule["labels"]["severity"] in {"warning", "critical"}, name


WARNED = [one for group in CATALOGUE for one in group.definitions if one.alert is not None]


@pytest.mark.parametrize("definition", WARNED, ids=lambda one: one.key)
def test_the_dashboard_warns_at_the_thresholds_of_the_alerts(definition: Definition) -> None:
    alert = definition.alert
    assert alert is not None
    rule = rules()[f"MeetingAssistant{alert.name}"]
    expression = rule["expr"].splitlines()[0]
    assert definition.metric in expression
    assert float(expression.rpartition("> ")[2]) == alert.above
    measures = {"increase": "increase(", "p95": "histogram_quantile(0.95,", "p99": "histogram_quantile(0.99,"}
    expected = measures.get(alert.measure)
    if expected is None:
        assert not any(measure in expression for measure in measures.values())
    else:
        assert expected in expression
    minutes = f"{alert.window_s // 60}m"
    assert f"[{minutes}]" in expression or rule.get("for") == minutes


def test_every_alert_but_four_is_on_the_dashboard() -> None:
    shown = {f"MeetingAssistant{one.alert.name}" for one in WARNED if one.alert is not None}
    # A server that does not answer has no page. Dead letters, and jobs that workers leave to others, are in the
    # metrics of the workers; how many more meetings fit is at the top of the page.
    assert rules().keys() - shown == {
        "MeetingAssistantUnreachable",
        "MeetingAssistantDeadJobs",
        "MeetingAssistantForeignJobs",
        "MeetingAssistantNoFreePlaces",
    }


def test_the_grafana_dashboard_is_consistent_and_finds_its_data_source() -> None:
    dashboard = json.loads((DEPLOY / "grafana/meeting-assistant.json").read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places)
    for panel in panels:
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters), panel["title"]
    (source,) = read("grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert source["isDefault"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = read("grafana/provisioning/dashboards/meeting-assistant.yml")["providers"]
    mounts = [volume.split(":") for volume in services()["grafana"]["volumes"]]
    (place,) = [inside for outside, inside, *_ in mounts if outside.endswith("meeting-assistant.json")]
    assert place == f"{provider['options']['path']}/meeting-assistant.json"


# --- containers -------------------------------------------------------------------------------------------


def test_the_compose_file_is_valid() -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    checked(str(PROGRAMS / "check-jsonschema"), *schema, "deploy/compose.yaml")


def test_every_profile_includes_its_dependencies() -> None:
    profiles: dict[str, set[str]] = {}
    for name, service in services().items():
        for profile in service["profiles"]:
            profiles.setdefault(profile, set()).add(name)
    assert profiles == {
        "alone": {"server"},
        "fleet": {"gateway", "worker", "redis-certificates", "redis", "postgres"},
        "gpu": {"worker-gpu", "redis-certificates", "redis"},
        "vllm": {"vllm"},
        "metrics": {"prometheus", "grafana"},
    }
    for name, service in services().items():
        for other in service.get("depends_on", {}):
            missing = set(service["profiles"]) - set(services()[other]["profiles"])
            assert not missing, f"{name} would wait for {other}, which is not there"


@pytest.mark.parametrize("name", sorted(services()))
def test_every_container_is_pinned_limited_monitored_and_confined(name: str) -> None:
    service = services()[name]
    tag = service["image"].partition(":")[2]
    assert tag
    assert tag != "latest"
    assert "memory" in service["deploy"]["resources"]["reservations"]
    assert service.get("healthcheck") or service["image"].startswith(OURS), "the image brings its own"
    if service["image"].startswith(OURS):
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:"), "a proxy in front of it ends TLS"


def test_only_workers_share_a_volume() -> None:
    """A volume belongs to the user of the container that was there first."""
    users: dict[str, set[str]] = {}
    for name, service in services().items():
        for volume in service.get("volumes", []):
            users.setdefault(volume.split(":")[0], set()).add(name)
    named = set(read("compose.yaml")["volumes"])
    assert named == {volume for volume in users if not volume.startswith("./")}
    shared = {volume: users[volume] for volume in named if len(users[volume]) > 1}
    assert shared == {
        "models": {"worker", "worker-gpu"},
        "redis-ca": {"redis-certificates", "redis", "gateway", "worker", "worker-gpu"},
        "redis-key": {"redis-certificates", "redis"},
    }
    for name, service in services().items():
        for volume in service.get("volumes", []):
            if volume.startswith("redis-") and name != "redis-certificates":
                assert volume.endswith(":ro"), f"{name} only reads what redis-certificates makes"


def examples() -> dict[str, str]:
    lines = (DEPLOY / "env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def interpolated(value: str, env: dict[str, str]) -> str:
    """As compose does: `${NAME:-otherwise}`."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: env.get(found[1]) or found[2], value)


def test_the_example_names_every_variable_of_the_compose_file_and_no_other() -> None:
    used = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
    assert examples().keys() == used | {"COMPOSE_PROFILES"}


@pytest.mark.parametrize("name", ["server", "gateway", "worker", "worker-gpu"])
def test_the_server_accepts_the_settings_of_every_container(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    env = {
        **examples(),
        "POSTGRES_PASSWORD": "secret",
        "REDIS_PASSWORD": "secret",
        "FLEET_SECRET": new_key(),
        "VLLM_BASE_URL": "http://vllm:8000",
    }
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    for variable, value in services()[name]["environment"].items():
        assert variable.partition("__")[0].lower() in Settings.model_fields, variable
        monkeypatch.setenv(variable, interpolated(str(value), env))
    settings = load_settings(env_file=None)
    assert (settings.orchestrator_backend == "redis") == (name != "server")
    assert (settings.fleet.secret is not None) == (name != "server")
    if settings.redis_url is not None:
        assert address_warnings(settings.redis_url.get_secret_value()) == []


def test_hadolint_accepts_the_dockerfile() -> None:
    checked(str(PROGRAMS / "hadolint"), "deploy/Dockerfile")


def test_every_file_that_the_image_copies_exists_and_is_in_the_build_context() -> None:
    sent = [
        line[1:].removesuffix("/**")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    for line in (DEPLOY / "Dockerfile").read_text().splitlines():
        copied = re.match(r"COPY (?!--from)(.+) \S+$", line)
        for name in copied[1].split() if copied else ():
            assert (ROOT / name).exists(), line
            assert name.split("/")[0] in sent, f"{name} is kept back by .dockerignore"


def test_the_image_runs_as_an_unprivileged_user_and_has_a_health_check() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    last = text[text.rindex("\nFROM ") :]
    assert re.search(r"^USER 10001$", last, re.MULTILINE)
    health = json.loads(re.findall(r"^\s+CMD (\[.*\])$", last, re.MULTILINE)[0])
    compile(health[2], "HEALTHCHECK", "exec")
    assert "/ready" in health[2]
    for image in re.findall(r"^(?:FROM|ARG BASE=)\s*(\S+)", text, re.MULTILINE):
        assert image == "${BASE}" or re.search(r":\d", image), f"{image} has no version"


# --- Kubernetes -------------------------------------------------------------------------------------------


def test_kubernetes_resources_match_their_schemas() -> None:
    files = [str(path) for path in (DEPLOY / "kubernetes").glob("*.yaml")]
    checked(str(PROGRAMS / "kubernetes-validate"), "--strict", *files)


def pods() -> dict[str, Any]:
    documents = yaml.safe_load_all((DEPLOY / "kubernetes/meeting-assistant.yaml").read_text())
    return {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]
        for one in documents
        if "template" in one.get("spec", {})
    }


@pytest.mark.parametrize("name", ["meeting-assistant-gateway", "meeting-assistant-worker"])
def test_pods_are_confined_limited_and_monitored(name: str) -> None:
    pod = pods()[name]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
    assert "memory" in container["resources"]["limits"]
    assert {"startupProbe", "livenessProbe"} <= container.keys()
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/data", "/tmp"}
    for variable in container["env"]:
        assert variable["name"].partition("__")[0].lower() in Settings.model_fields


def test_gateways_have_readiness_and_liveness_probes() -> None:
    (container,) = pods()["meeting-assistant-gateway"]["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/health"


# --- systemd ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", UNITS)
def test_systemd_units_name_existing_settings_and_commands(file: str) -> None:
    unit = (DEPLOY / "systemd" / file).read_text()
    command = re.search(r"ExecStart=\S+ (\w+)", unit)
    assert command is not None
    assert command[1] in {"serve", "worker"}
    variables = re.findall(r"(\w+)=", re.findall(r"^Environment=(.*)$", unit, re.MULTILINE)[0])
    assert {name.lower() for name in variables} <= set(Settings.model_fields)


@pytest.mark.parametrize("file", UNITS)
def test_systemd_accepts_the_units_and_rates_them_as_confined(file: str, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("there is no systemd here")
    unit = (DEPLOY / "systemd" / file).read_text()
    # The program is not installed where the unit expects it.
    (tmp_path / file).write_text(re.sub(r"ExecStart=\S+", f"ExecStart={sys.executable}", unit))
    assert checked(analyze, "verify", "--man=no", str(tmp_path / file)) == ""
    # Of 100 for no confinement at all.
    checked(analyze, "security", "--offline=true", "--threshold=25", str(tmp_path / file))


# --- what people type -------------------------------------------------------------------------------------

PAGES = [
    "docs/how-to/deploy.md",
    "docs/how-to/fleet.md",
    "docs/how-to/gpu.md",
    "docs/how-to/keys-and-backup.md",
    "docs/how-to/monitor.md",
    "docs/how-to/object-store.md",
    "docs/how-to/tokens-and-tls.md",
    "deploy/Dockerfile",
    "deploy/compose.yaml",
    "deploy/env.example",
    "deploy/kubernetes/meeting-assistant.yaml",
    "deploy/prometheus/alerts.yml",
]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_is_named_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    commands = re.findall(
        r"(?:--rm meeting-assistant:local|bin/meeting-assistant|[`(]meeting-assistant) ([a-z]+)(?: ([a-z]+))?",
        text,
    )
    for first, second in commands:
        assert first in known, first
        parts = getattr(known[first], "commands", {})
        assert not parts or second in parts, f"{first} {second}"
    for file in re.findall(r"(?:-f |--file |`)((?:deploy|docs|scripts)/[\w./-]+)", text):
        assert (ROOT / file).exists() or file in {"deploy/.env", "deploy/prometheus/token"}, file
    for profile in re.findall(r"COMPOSE_PROFILES=([\w,]+)", text):
        assert set(profile.split(",")) <= {"alone", "fleet", "gpu", "vllm", "metrics"}
    for target in re.findall(r"`make ([a-z-]+)`", text):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target
    for variable in re.findall(r"^\s+([A-Z][A-Z_]+)=", text, re.MULTILINE):
        assert (
            variable.lower().split("__")[0] in Settings.model_fields
            or variable in examples()
            or page == "deploy/Dockerfile"
        ), variable
