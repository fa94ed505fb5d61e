"""Deliveries over HTTP and on the command line, separately for each owner."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from meeting_assistant.launcher import ServerProcess
from meeting_assistant.testing.doubles.targets import GitHub, TargetServer, slack
from meeting_assistant.testing.harness.command import run_cli
from meeting_assistant.testing.harness.meetings import MeetingFixture, seed
from meeting_assistant.testing.harness.outbox import BEGAN_MS, LINES, MINUTES

ANA, BEN, EVE, OPS = (f"{name}-token-{'x' * 20}" for name in ("ana", "ben", "eve", "ops"))


@dataclass
class TwoOwners:
    """A server with a meeting of Ana's and one of Ben's; the channel refuses both at first."""

    server: ServerProcess
    of_ana: str
    of_ben: str
    repository: GitHub
    channel: TargetServer
    env: dict[str, str]

    def __call__(self, token: str, method: str, path: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.request(method, f"{self.server.url}/api{path}", headers=headers)

    def deliveries(self, token: str, meeting_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self(token, "GET", f"/meetings/{meeting_id}/deliveries").json()
        return found


@pytest.fixture
def owners(tmp_path: Path) -> Iterator[TwoOwners]:
    fixtures = [
        MeetingFixture(
            LINES, title=f"Of {name}", minutes=MINUTES, more={"owner": name, "created_at_ms": BEGAN_MS}
        )
        for name in ("ana", "ben")
    ]
    of_ana, of_ben = seed(tmp_path / "data", *fixtures)
    repository = GitHub(people=frozenset())
    with TargetServer(repository) as tracker, TargetServer(slack) as channel:
        for _ in fixtures:
            channel.fail_with(404, "no_service")
        env = {
            "API_TOKENS": f"ana:{ANA},ben:{BEN},eve:read:{EVE},ops:admin:{OPS}",
            "MEETING_SLACK_WEBHOOK_URL": channel.url,
            "WORKFLOWS__GITHUB__REPOSITORY": "acme/plans",
            "WORKFLOWS__GITHUB__TOKEN": "github-token",
            "WORKFLOWS__GITHUB__API_URL": tracker.url,
        }
        with ServerProcess(tmp_path / "data", env) as server:
            owners = TwoOwners(server, of_ana, of_ben, repository, channel, env)
            wait_for(lambda: "parked" in states(owners.deliveries(ANA, of_ana)))
            wait_for(lambda: "parked" in states(owners.deliveries(BEN, of_ben)))
            yield owners


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds; the timeout of the test is the limit."""
    while not condition():
        time.sleep(0.05)


def states(deliveries: list[dict[str, Any]]) -> list[str]:
    return [one["state"] for one in deliveries]


def test_each_owner_sees_and_decides_only_deliveries_of_their_meetings(owners: TwoOwners) -> None:
    parked, first, second = owners.deliveries(ANA, owners.of_ana)
    assert [parked["state"], first["state"], second["state"]] == ["parked", "proposed", "proposed"]
    of_it = f"/meetings/{owners.of_ana}"
    for method, path in (
        ("GET", f"{of_it}/deliveries"),
        ("POST", f"{of_it}/deliveries"),
        ("GET", f"{of_it}/deliveries/preview"),
        ("POST", f"{of_it}/deliveries/{first['id']}/approve"),
        ("POST", f"{of_it}/deliveries/{first['id']}/dismiss"),
        ("POST", f"{of_it}/deliveries/{parked['id']}/retry"),
        ("GET", f"{of_it}/calendar.ics"),
        ("PUT", f"{of_it}/workflows"),
    ):
        assert owners(BEN, method, path).status_code in {404, 422}, path
    # Not by way of a meeting of one's own either.
    for verb, one in (("approve", first), ("dismiss", first), ("retry", parked)):
        taken = owners(BEN, "POST", f"/meetings/{owners.of_ben}/deliveries/{one['id']}/{verb}")
        assert taken.status_code == 404, verb
    assert owners(EVE, "POST", f"{of_it}/deliveries").status_code in {403, 404}
    assert owners(BEN, "POST", "/integrations/github/test").status_code == 403
    assert {one["meeting_id"] for one in owners(ANA, "GET", "/deliveries").json()} == {owners.of_ana}
    assert {one["meeting_id"] for one in owners(BEN, "GET", "/deliveries").json()} == {owners.of_ben}
    assert owners.deliveries(ANA, owners.of_ana) == [parked, first, second]
    assert owners.repository.issues == []


def test_a_calendar_program_signs_in_with_a_token_as_its_password(owners: TwoOwners) -> None:
    def subscribe(password: str) -> httpx.Response:
        return httpx.get(f"{owners.server.url}/api/calendar.ics", auth=("anybody", password))

    ics = subscribe(ANA).text
    assert ics.count("BEGIN:VEVENT") == 2
    assert owners.of_ana in ics.replace("\r\n ", "")
    assert owners.of_ben not in ics.replace("\r\n ", "")
    assert subscribe("wrong").status_code == 401


def test_a_parked_delivery_can_be_retried_by_its_owner_and_on_the_command_line(
    owners: TwoOwners, tmp_path: Path
) -> None:
    parked = owners.deliveries(ANA, owners.of_ana)[0]
    retried = owners(ANA, "POST", f"/meetings/{owners.of_ana}/deliveries/{parked['id']}/retry")
    assert (retried.status_code, retried.json()["state"]) == (200, "pending")
    wait_for(lambda: owners.deliveries(ANA, owners.of_ana)[0]["state"] == "done")

    def cli(*arguments: str) -> str:
        done = run_cli("workflows", *arguments, cwd=tmp_path, DATA_DIR=str(tmp_path / "data"), **owners.env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    (left,) = json.loads(cli("deliveries", "--state", "parked", "--json"))
    assert left["meeting_id"] == owners.of_ben
    assert "tried again by the server" in cli("retry", left["id"])
    owners(
        BEN, "POST", f"/meetings/{owners.of_ben}/deliveries"
    )  # sooner than the half minute that it may take
    wait_for(lambda: owners.deliveries(BEN, owners.of_ben)[0]["state"] == "done")
    assert len(owners.channel.requests) == 4
