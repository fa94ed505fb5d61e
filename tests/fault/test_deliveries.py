"""`kill -9` while something is being delivered: it is delivered, and never twice where the target can tell."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from meeting_assistant.testing.after_meeting import BEGAN_MS, LINES, MINUTES
from meeting_assistant.testing.command import run_cli
from meeting_assistant.testing.seed import Held, seed
from meeting_assistant.testing.server import ServerProcess
from meeting_assistant.testing.targets import Linear, TargetServer, slack

pytestmark = pytest.mark.fault


def wait_for(condition: Callable[[], bool]) -> None:
    """Until it holds; the test's own timeout ends it."""
    while not condition():
        time.sleep(0.05)


def test_a_server_that_is_killed_between_delivery_and_its_record_delivers_once(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    held = Held(LINES, title="Weekly", minutes=MINUTES, more={"created_at_ms": BEGAN_MS})
    (meeting_id,) = seed(tmp_path / "data", held)
    linear = Linear()
    with TargetServer(linear) as tracker, TargetServer(slack) as channel:
        tracker.do_and_hang_when(lambda request: "issueCreate" in request.body["query"])
        env = {
            "MEETING_LOG_PATH": str(log),
            "MEETING_SLACK_WEBHOOK_URL": channel.url,
            "WORKFLOWS__LINEAR__API_KEY": "linear-key",
            "WORKFLOWS__LINEAR__TEAM": "ENG",
            "WORKFLOWS__LINEAR__API_URL": tracker.url,
            "WORKFLOW_AUTO_APPROVE": "linear,log,slack",
        }
        with ServerProcess(tmp_path / "data", env) as server:
            wait_for(lambda: len(linear.issues) == 2)
            server.kill()
            tracker.do_and_hang_when(None)
            server.start()

            def deliveries() -> list[dict[str, object]]:
                listed: list[dict[str, object]] = server.get(f"/api/meetings/{meeting_id}/deliveries")
                return listed

            wait_for(lambda: all(one["state"] == "done" for one in deliveries()))
            made = {one["receipt"]["reference"] for one in deliveries() if one["integration"] == "linear"}  # type: ignore[index]
            assert made == {"ENG-1", "ENG-2"}
            assert len(linear.issues) == 2
            calendar = httpx.get(f"{server.url}/api/calendar.ics", auth=("anybody", "any"))
            assert calendar.text.count("BEGIN:VEVENT") == 2
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert len([line for line in lines if line["type"] == "meeting"]) == 1
        assert {line["reference"] for line in lines if line.get("integration") == "linear"} == made

        listed = run_cli(
            "workflows", "deliveries", "--json", cwd=tmp_path, DATA_DIR=str(tmp_path / "data"), **env
        )
        assert {one["state"] for one in json.loads(listed.stdout)} == {"done"}
        preview = run_cli(
            "workflows", "preview", meeting_id, cwd=tmp_path, DATA_DIR=str(tmp_path / "data"), **env
        )
        assert {one["state"] for one in json.loads(preview.stdout)} == {"done"}


def test_an_integration_is_proved_on_the_command_line(tmp_path: Path) -> None:
    with TargetServer(slack) as channel:
        env = {"MEETING_SLACK_WEBHOOK_URL": channel.url}
        proved = run_cli("workflows", "test", "slack", cwd=tmp_path, **env)
        assert proved.stdout == "A line was posted to the channel.\n"
        channel.fail_with(404, "no_service")
        refused = run_cli("workflows", "test", "slack", cwd=tmp_path, **env)
        assert refused.returncode == 1
        assert "no_service" in refused.stderr
        assert "Traceback" not in refused.stderr
    missing = run_cli("workflows", "test", "jira", cwd=tmp_path)
    assert "jira is not configured." in missing.stderr
    assert "None is configured" in run_cli("workflows", "list", cwd=tmp_path).stdout
    gone = run_cli("workflows", "retry", "nothing", cwd=tmp_path)
    assert "There is no such delivery." in gone.stderr
