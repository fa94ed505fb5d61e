"""The outbox when minutes change, decisions change and processes die."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from meeting_assistant.adapters.minutes_rules import EmbeddedWriter
from meeting_assistant.domain.errors import ConflictError, DeliveryError, StorageError
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.meeting import Coverage
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.steps import REWRITE
from meeting_assistant.domain.workflows import (
    Action,
    Delivery,
    DeliveryState,
    Description,
    MeetingOutcome,
    Receipt,
)
from meeting_assistant.services.events.meeting_channel import Channels
from meeting_assistant.services.jobs.orchestrator import Orchestrator
from meeting_assistant.services.minutes.editor import MinutesEditor
from meeting_assistant.services.minutes.minutes_service import MinutesService
from meeting_assistant.testing.doubles.targets import GitHub, TargetServer, slack
from meeting_assistant.testing.harness.outbox import MINUTES, OutboxHarness, github_options, slack_options


async def write_again(outbox: OutboxHarness, meeting_id: str, minutes: Minutes) -> list[Delivery]:
    await outbox.store.add_minutes_version(meeting_id, minutes=minutes, coverage=Coverage())
    return await outbox.workflows.run_again(meeting_id)


def states(deliveries: list[Delivery]) -> list[tuple[str, DeliveryState]]:
    return [(one.integration, one.state) for one in deliveries]


# --- minutes that change ----------------------------------------------------------------------------------


async def test_a_reworded_item_is_proposed_and_not_delivered_again(
    tmp_path: Path,
) -> None:
    repository = GitHub(people=frozenset())
    with TargetServer(repository) as server:
        async with OutboxHarness(tmp_path, github_options(server, assignees=None)) as outbox:
            meeting_id = await outbox.meeting()
            await outbox.deliver_all()
            assert len(repository.issues) == 2
            in_german = MINUTES.action_items[0].model_copy(
                update={"id": "a3", "text": "Verschickt die Hinweise zur Version."}
            )
            added = await write_again(
                outbox, meeting_id, MINUTES.model_copy(update={"action_items": [in_german]})
            )
            assert states(added) == [("github", DeliveryState.PROPOSED)]
            await outbox.later()
            assert len(repository.issues) == 2


async def test_after_a_redaction_nothing_is_delivered_again_without_approval(
    tmp_path: Path,
) -> None:
    repository, vault = GitHub(people=frozenset()), tmp_path / "vault"
    vault.mkdir()
    with TargetServer(slack) as channel, TargetServer(repository) as server:
        options = {
            **slack_options(channel),
            **github_options(server, assignees=None),
            "markdown": {"folder": str(vault)},
        }
        async with OutboxHarness(tmp_path, options) as outbox:
            meeting_id = await outbox.meeting()
            await outbox.deliver_all()
            await outbox.store.redact(meeting_id, [], [], [3])
            left = MINUTES.model_copy(update={"decisions": MINUTES.decisions[:1]})
            added = await write_again(outbox, meeting_id, left)
            assert states(added) == [
                ("slack", DeliveryState.PROPOSED),
                ("github", DeliveryState.PROPOSED),
                ("github", DeliveryState.PROPOSED),
                ("markdown", DeliveryState.PENDING),
            ]
            await outbox.later()
            assert (len(channel.requests), len(repository.issues)) == (1, 2)
            (note,) = vault.iterdir()
            assert "<script>" not in note.read_text(), "the local note is rewritten in place"
            assert await write_again(outbox, meeting_id, left) == []


async def test_a_delivery_in_progress_during_a_redaction_is_not_repeated_without_approval(
    tmp_path: Path,
) -> None:
    with TargetServer(slack) as server:
        async with OutboxHarness(tmp_path, slack_options(server)) as outbox:
            meeting_id = await outbox.meeting()
            taken = await outbox.deliveries.take_due(outbox.now_ms, 60_000)
            assert taken is not None
            await outbox.store.redact(meeting_id, [], [], [3])
            assert not await outbox.deliveries.update(taken), "its words do not reappear"
            added = await write_again(outbox, meeting_id, MINUTES)
            assert states(added) == [("slack", DeliveryState.PROPOSED)]
            gone, _ = await outbox.of(meeting_id)
            assert (gone.state, gone.is_uncertain) == (DeliveryState.DISMISSED, True)
            assert "release notes" not in gone.model_dump_json()
            with pytest.raises(ConflictError):
                await outbox.workflows.retry(gone.id)


async def test_a_retry_sends_the_present_minutes_or_nothing(tmp_path: Path) -> None:
    repository = GitHub(people=frozenset())
    with TargetServer(repository) as server:
        async with OutboxHarness(tmp_path, github_options(server, assignees=None), approved=[]) as outbox:
            meeting_id = await outbox.meeting()
            first, second = await outbox.of(meeting_id)
            for one in (first, second):
                await outbox.workflows.dismiss(meeting_id, one.id)
            reworded = MINUTES.action_items[0].model_copy(update={"text": "Send the notes to all."})
            await outbox.store.add_minutes_version(
                meeting_id,
                minutes=MINUTES.model_copy(update={"action_items": [reworded]}),
                coverage=Coverage(),
            )
            with pytest.raises(ConflictError, match="do not hold this any more"):
                await outbox.workflows.retry(second.id)
            await outbox.workflows.retry(first.id)
            await outbox.later()
            assert [issue["title"] for issue in repository.issues] == ["Send the notes to all."]


async def test_a_crash_after_a_rewrite_loses_no_planning(tmp_path: Path) -> None:
    async with OutboxHarness(tmp_path, {}) as outbox:
        meeting_id = await outbox.meeting()

        class Killed(BaseException):
            """Nothing after it runs."""

        async def plan(meeting_id: str) -> None:
            raise Killed

        editor = MinutesEditor(
            outbox.store,
            Channels(outbox.store),
            MinutesService(EmbeddedWriter()),
            Orchestrator(1),
            on_rewritten=plan,
        )
        await outbox.store.begin_step(meeting_id, REWRITE)
        with pytest.raises(Killed):
            await editor.handle(InferenceJob(kind=JobKind.WRITE_MINUTES, meeting_id=meeting_id))
        assert await outbox.store.incomplete_steps(REWRITE) == [meeting_id], "the next start does it again"


# --- people who change their minds ------------------------------------------------------------------------


async def test_a_waiting_delivery_follows_a_later_choice_of_targets(tmp_path: Path) -> None:
    with TargetServer(slack).fail_with(503) as server:
        async with OutboxHarness(tmp_path, slack_options(server)) as outbox:
            waiting = await outbox.run()
            assert waiting.state is DeliveryState.PENDING
            await outbox.workflows.choose(waiting.meeting_id, [])
            await outbox.later()
            (proposed,) = await outbox.of(waiting.meeting_id)
            assert (proposed.state, len(server.requests)) == (DeliveryState.PROPOSED, 1)
            with pytest.raises(ConflictError):
                await outbox.workflows.approve(proposed.meeting_id, proposed.id)
            await outbox.workflows.choose(proposed.meeting_id, None)
            await outbox.workflows.approve(proposed.meeting_id, proposed.id)
            await outbox.later()
            assert (await outbox.deliveries.get(proposed.id)).state is DeliveryState.DONE


async def test_a_choice_made_during_a_failing_attempt_applies_to_the_next_one(tmp_path: Path) -> None:
    with TargetServer(slack).fail_with(503) as server:
        async with OutboxHarness(tmp_path, slack_options(server)) as outbox:
            meeting_id = await outbox.meeting()
            taken = await outbox.deliveries.take_due(outbox.now_ms, 60_000)
            assert taken is not None
            await outbox.workflows.choose(meeting_id, [])
            await outbox.deliveries.update(taken.model_copy(update={"state": DeliveryState.PENDING}))
            await outbox.later()
            (proposed,) = await outbox.of(meeting_id)
            assert (proposed.state, server.requests) == (DeliveryState.PROPOSED, [])


async def test_making_a_meeting_local_only_holds_back_waiting_deliveries(tmp_path: Path) -> None:
    log = tmp_path / "missing" / "audit.jsonl"
    with TargetServer(slack).fail_with(503) as server:
        async with OutboxHarness(tmp_path, {**slack_options(server), "log": {"path": str(log)}}) as outbox:
            waiting = await outbox.run()
            await outbox.workflows.keep_local(waiting.meeting_id)
            log.parent.mkdir()
            await outbox.later()
            assert states(await outbox.of(waiting.meeting_id)) == [
                ("slack", DeliveryState.PROPOSED),
                ("log", DeliveryState.DONE),
            ]
            assert len(server.requests) == 1


# --- faulty plug-ins --------------------------------------------------------------------------------------


class Broken:
    """A third-party integration that always fails."""

    name = "broken"

    def describe(self) -> Description:
        raise KeyError("oops")

    def plan(self, outcome: MeetingOutcome) -> list[Action]:
        raise KeyError("oops")

    async def deliver(self, delivery: Delivery) -> Receipt:
        raise KeyError("oops")

    async def test(self) -> str:
        raise KeyError("oops")

    async def close(self) -> None:
        pass


async def test_viewing_deliveries_writes_nothing_even_with_a_broken_integration(tmp_path: Path) -> None:
    with TargetServer(GitHub()) as server:
        options = {
            "broken": Broken(),
            **OutboxHarness(tmp_path, github_options(server, assignees=None)).integrations,
        }
        async with OutboxHarness(tmp_path, options, approved=[]) as outbox:
            meeting_id = await outbox.meeting()
            for _ in range(3):
                assert len(await outbox.of(meeting_id)) == 2
                await outbox.workflows.preview(meeting_id)
                await outbox.workflows.run_again(meeting_id)
            (error,) = (await outbox.store.get(meeting_id)).errors
            assert error.message.startswith("broken could not plan")
            assert [one.name for one in outbox.workflows.configured()] == ["broken", "github"]


class Undescribed(Broken):
    """An integration that can plan and nothing else."""

    def plan(self, outcome: MeetingOutcome) -> list[Action]:
        return [Action(key="one", title="One", payload={})]


async def test_an_integration_without_a_description_affects_no_other(tmp_path: Path) -> None:
    with TargetServer(slack) as server:
        options = {"broken": Undescribed(), **OutboxHarness(tmp_path, slack_options(server)).integrations}
        async with OutboxHarness(tmp_path, options) as outbox:
            meeting_id = await outbox.meeting()
            await outbox.deliver_all()
            assert states(await outbox.of(meeting_id)) == [
                ("broken", DeliveryState.PENDING),
                ("slack", DeliveryState.DONE),
            ]


# --- the dispatcher ---------------------------------------------------------------------------------------


async def test_an_unavailable_database_at_start_does_not_stop_the_outbox(tmp_path: Path) -> None:
    with TargetServer(slack) as server:
        async with OutboxHarness(tmp_path, slack_options(server)) as outbox:
            meeting_id = await outbox.meeting()
            await outbox.deliveries.take_due(outbox.now_ms, 60_000)  # by a process that is dead now
            end_leases, tries = outbox.deliveries.end_leases, 0

            async def away_once(now_ms: int, dedup_delays_ms: Any) -> int:
                nonlocal tries
                tries += 1
                if tries == 1:
                    outbox.dispatcher.wake()
                    raise StorageError("The database is away.", "It comes back.")
                return await end_leases(now_ms, dedup_delays_ms)

            outbox.deliveries.end_leases = away_once  # type: ignore[method-assign]
            running = asyncio.create_task(outbox.dispatcher.run(is_single_process=True))
            while (await outbox.of(meeting_id))[0].state is not DeliveryState.DONE:
                await asyncio.sleep(0.01)
                assert not running.done()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            assert len(server.requests) == 1


async def test_a_repeated_message_says_that_it_may_be_a_duplicate(tmp_path: Path) -> None:
    with TargetServer(slack).lose_the_answer() as server:
        async with OutboxHarness(tmp_path, slack_options(server)) as outbox:
            first = await outbox.run()
            assert (first.state, first.is_uncertain) == (DeliveryState.PENDING, True)
            await outbox.later()
            done = await outbox.deliveries.get(first.id)
            assert (done.state, done.is_uncertain) == (DeliveryState.DONE, True)


# --- the audit log ----------------------------------------------------------------------------------------


def lines_of(log: Path, kind: str = "delivery") -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line for line in lines if line["type"] == kind]


async def test_a_crash_before_a_delivery_is_logged_loses_no_line(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    with TargetServer(slack) as server:
        async with OutboxHarness(tmp_path, {**slack_options(server), "log": {"path": str(log)}}) as outbox:
            note, integration = outbox.dispatcher._on_terminal, outbox.integrations["log"]

            async def die(delivery: Delivery) -> None:
                raise DeliveryError("The disk is full.", "", retryable=True)

            outbox.dispatcher._on_terminal = die
            done = await outbox.run()
            assert done.state is DeliveryState.DONE, "it was delivered, whatever the log says"
            assert lines_of(log) == []
            outbox.dispatcher._on_terminal = note
            await outbox.dispatcher._notify_terminal()
            (line,) = lines_of(log)
            assert (line["id"], line["state"]) == (done.id, "done")
            await integration.note(done)  # type: ignore[attr-defined]
            await outbox.dispatcher._notify_terminal()
            assert len(lines_of(log)) == 1


async def test_the_file_name_of_a_note_is_not_in_the_audit_log(tmp_path: Path) -> None:
    log, vault = tmp_path / "audit.jsonl", tmp_path / "vault"
    vault.mkdir()
    options = {"markdown": {"folder": str(vault)}, "log": {"path": str(log)}}
    async with OutboxHarness(tmp_path, options) as outbox:
        await outbox.run()
    assert lines_of(log)[0]["reference"] is None
    assert "Weekly" not in log.read_text()


async def test_a_line_appended_during_rotation_is_in_one_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    log = tmp_path / "audit.jsonl"
    log.write_text("{}\n")
    opened = os.open

    def open_and_rotate(path: Any, *args: Any, **more: Any) -> int:
        file = opened(path, *args, **more)
        if Path(path) == log:
            log.rename(log.with_suffix(".1"))
        return file

    monkeypatch.setattr("meeting_assistant.integrations.targets.audit_log.os.open", open_and_rotate)
    async with OutboxHarness(tmp_path, {"log": {"path": str(log)}}) as outbox:
        assert (await outbox.run()).state is DeliveryState.DONE
    rotated = log.with_suffix(".1").read_text().splitlines()
    assert [json.loads(line).get("type") for line in rotated] == [None, "meeting"]
