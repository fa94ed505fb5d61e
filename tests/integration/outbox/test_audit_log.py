"""The audit log: one line for each meeting and each delivery."""

from __future__ import annotations

import json
from pathlib import Path

from meeting_assistant.domain.workflows import DeliveryState
from meeting_assistant.testing.doubles.targets import GitHub, TargetServer
from meeting_assistant.testing.harness.outbox import OutboxHarness, github_options


async def test_the_audit_log_records_meetings_and_deliveries_without_their_text(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    with TargetServer(GitHub()) as server:
        async with OutboxHarness(tmp_path, {**github_options(server), "log": {"path": str(log)}}) as outbox:
            meeting_id = await outbox.meeting()
            await outbox.deliver_all()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert sorted(line["type"] for line in lines) == ["delivery", "delivery", "meeting"]
    assert {line["meeting"] for line in lines} == {meeting_id}
    meeting = next(line for line in lines if line["type"] == "meeting")
    assert meeting["items"]["action_items"] == 2
    assert {line["reference"] for line in lines if line["type"] == "delivery"} == {
        "acme/plans#1",
        "acme/plans#2",
    }
    assert not any(words in log.read_text() for words in ("release", "search", "Ben"))


async def test_a_torn_line_affects_no_other_and_a_second_attempt_adds_none(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    log.write_text('{"id": "torn')
    async with OutboxHarness(tmp_path, {"log": {"path": str(log)}}) as outbox:
        meeting_id = await outbox.meeting()
        taken = await outbox.deliveries.take_due(outbox.now_ms, 1000)
        assert taken is not None
        await outbox.integrations["log"].deliver(taken)
        await outbox.expire_leases()
        await outbox.later()
        torn, line = log.read_text().splitlines()
        assert torn == '{"id": "torn'
        assert json.loads(line)["meeting"] == meeting_id
        assert (await outbox.of(meeting_id))[0].state is DeliveryState.DONE


async def test_a_rotated_log_is_followed_and_a_missing_folder_is_reported(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "audit.jsonl"
    async with OutboxHarness(tmp_path, {"log": {"path": str(log)}}) as outbox:
        waiting = await outbox.run()
        assert waiting.state is DeliveryState.PENDING
        assert "MEETING_LOG_PATH" in (waiting.last_error or "")
        log.parent.mkdir()
        await outbox.later()
        log.rename(log.with_suffix(".1"))
        await outbox.meeting()
        await outbox.later()
        assert len(log.read_text().splitlines()) == 1
