"""`kill -9` during a delivery: it is delivered, and never twice where the target can recognise it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiosmtpd.controller import Controller

from meeting_assistant.domain.workflows import Delivery, DeliveryState
from meeting_assistant.launcher import ServerProcess, free_port
from meeting_assistant.testing.doubles.targets import (
    Calendar,
    GitHub,
    Jira,
    Linear,
    Reply,
    TargetServer,
    Wire,
    mattermost,
    slack,
    teams,
)
from meeting_assistant.testing.harness.command import run_cli
from meeting_assistant.testing.harness.meetings import MeetingFixture, seed
from meeting_assistant.testing.harness.outbox import BEGAN_MS, LINES, MINUTES, OutboxHarness

pytestmark = pytest.mark.fault


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds; the timeout of the test is the limit."""
    while not condition():
        time.sleep(0.05)


def test_a_server_killed_between_a_delivery_and_its_record_delivers_once(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    fixture = MeetingFixture(LINES, title="Weekly", minutes=MINUTES, more={"created_at_ms": BEGAN_MS})
    (meeting_id,) = seed(tmp_path / "data", fixture)
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


class Mailbox:
    """Takes a message and does not say so while it hangs."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.is_hanging = True

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        headers = envelope.content.decode().split("\r\n")
        self.ids += [header for header in headers if header.startswith("Message-ID")]
        if self.is_hanging:
            await asyncio.Event().wait()
        return "250 OK"


ONE_ITEM = MeetingFixture(
    LINES[:3],
    title="Weekly",
    minutes=MINUTES.model_copy(update={"action_items": MINUTES.action_items[:1]}),
    more={"created_at_ms": BEGAN_MS},
)
SECRET = "whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="


async def test_a_delivery_interrupted_by_a_kill_arrives_once_or_is_reported_as_uncertain(
    tmp_path: Path,
) -> None:
    jira, github, calendar, mailbox = Jira(is_cloud=False), GitHub(), Calendar(), Mailbox()
    wires: dict[str, Wire] = {
        "slack": slack,
        "teams": teams,
        "mattermost": mattermost,
        "webhook": lambda request: Reply(204),
        "jira": jira,
        "github": github,
        "caldav": calendar,
    }
    servers = {name: TargetServer(wire).__enter__() for name, wire in wires.items()}
    smtp = Controller(mailbox, hostname="127.0.0.1", port=free_port())
    smtp.start()
    url = {name: server.url for name, server in servers.items()}
    options: dict[str, dict[str, str]] = {
        **{name: {"webhook_url": url[name]} for name in ("slack", "teams", "mattermost")},
        "webhook": {"urls": url["webhook"], "secrets": SECRET},
        "jira": {"url": url["jira"], "project": "OPS", "token": "jira-token"},
        "github": {"repository": "acme/plans", "token": "github-token", "api_url": url["github"]},
        "caldav": {"url": url["caldav"]},
        "email": {
            "host": "127.0.0.1",
            "port": str(smtp.port),
            "security": "none",
            "sender": "notes@example.org",
            "recipients": "ana@example.org",
        },
    }
    env = {
        f"WORKFLOWS__{name}__{option}".upper(): value
        for name, given in options.items()
        for option, value in given.items()
    }
    try:
        (meeting_id,) = await asyncio.to_thread(seed, tmp_path / "data", ONE_ITEM)
        for target in servers.values():
            target.do_and_hang_when(lambda request: True)
        with ServerProcess(tmp_path / "data", {**env, "WORKFLOW_AUTO_APPROVE": ",".join(options)}) as server:
            have_it = [target.requests for target in servers.values()] + [mailbox.ids]
            await asyncio.to_thread(wait_for, lambda: all(have_it))
            server.kill()
        mailbox.is_hanging = False
        for target in servers.values():
            target.do_and_hang_when(None)

        async with OutboxHarness(tmp_path / "data", options) as after:
            after.now_ms = int(time.time() * 1000)

            async def by_name() -> dict[str, Delivery]:
                return {one.integration: one for one in await after.of(meeting_id)}

            await after.dispatcher.end_leases()
            in_hand = {name: (one.state, one.is_uncertain) for name, one in (await by_name()).items()}
            assert in_hand == dict.fromkeys(options, (DeliveryState.PENDING, True))
            await after.later()
            done = await by_name()
            assert {one.state for one in done.values()} == {DeliveryState.DONE}
    finally:
        smtp.stop()
        for target in servers.values():
            target.__exit__()

    # These targets can look up what they have; the receiver of a webhook recognises the id.
    assert (len(jira.issues), len(github.issues), len(calendar.entries)) == (1, 1, 1)
    assert [done[name].receipt.reference for name in ("jira", "github")] == ["OPS-1", "acme/plans#1"]  # type: ignore[union-attr]
    assert len({request.headers["webhook-id"] for request in servers["webhook"].requests}) == 1
    assert len(set(mailbox.ids)) == 1
    # These targets cannot look it up: the message is sent twice, and says so.
    cannot_tell = {"slack", "teams", "mattermost", "email"}
    assert {name for name, one in done.items() if one.is_uncertain} == cannot_tell
    assert all(len(servers[name].requests) == 2 for name in cannot_tell - {"email"})


DIES_BEFORE_THE_RECORD = """
import asyncio, sys
from pathlib import Path
from meeting_assistant.testing.harness.outbox import OutboxHarness

async def main(folder, name, option, value):
    async with OutboxHarness(Path(folder), {name: {option: value}}) as after:
        await after.meeting()

        async def update(*given, **more):
            print("delivered", flush=True)
            await asyncio.Event().wait()

        after.deliveries.update = update
        await after.deliver_all()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("name", "option", "path"), [("markdown", "folder", "."), ("log", "path", "audit.jsonl")]
)
async def test_a_file_written_before_a_kill_is_not_written_twice(
    tmp_path: Path, name: str, option: str, path: str
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    value = str(folder / path)
    command = [sys.executable, "-c", DIES_BEFORE_THE_RECORD, str(tmp_path), name, option, value]
    dying = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert dying.stdout is not None
    assert await dying.stdout.readline() == b"delivered\n"
    dying.kill()
    await dying.wait()
    (written,) = folder.iterdir()
    before = written.read_text()
    async with OutboxHarness(tmp_path, {name: {option: value}}) as after:
        await after.dispatcher.end_leases()
        await after.later()
        (done,) = await after.workflows.recent(list(DeliveryState))
        assert (done.state, done.attempts, done.is_uncertain) == (DeliveryState.DONE, 2, False)
    assert [path.read_text() for path in folder.iterdir()] == [before]


def test_an_integration_can_be_tested_on_the_command_line(tmp_path: Path) -> None:
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
