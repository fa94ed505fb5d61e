"""The commands `workflows list`, `test`, `deliveries`, `preview` and `retry`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from meeting_assistant.bootstrap.storage import build_storage
from meeting_assistant.bootstrap.workflows import build_integrations, build_outbox
from meeting_assistant.config import load_settings
from meeting_assistant.domain.errors import InputError
from meeting_assistant.domain.workflows import Delivery, DeliveryState
from meeting_assistant.integrations.workflows import Workflows

R = TypeVar("R")


def list_integrations() -> None:
    """Print the integrations that are configured."""
    settings = load_settings()
    table = Table("Name", "Delivers to", "How", title="Integrations", title_justify="left")
    for name, integration in build_integrations(settings).items():
        about = integration.describe()
        how = "by itself" if name in settings.workflow_auto_approve else "after a click"
        table.add_row(name, about.target, how)
    if not table.row_count:
        Console().print("None is configured; docs/how-to/integrations.md says how.")
        return
    Console().print(table)


def test_integration(name: str) -> None:
    """Test one integration. Raises ConfigurationError, InputError, DeliveryError."""

    async def run() -> str:
        integrations = build_integrations(load_settings())
        if name not in integrations:
            there = ", ".join(integrations) or "none"
            raise InputError(
                f"{name} is not configured.", f"Configured: {there}. See docs/how-to/integrations.md."
            )
        try:
            return await integrations[name].test()
        finally:
            await integrations[name].close()

    sys.stdout.write(asyncio.run(run()) + "\n")


def show_deliveries(states: list[DeliveryState], *, is_json: bool) -> None:
    """Print the newest deliveries in these states, or in all."""
    found = _with_workflows(lambda workflows: workflows.recent(states or list(DeliveryState)))
    if is_json:
        json.dump([delivery.model_dump(mode="json") for delivery in found], sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    _print(found)


def show_preview(meeting_id: str) -> None:
    """Print as JSON exactly what would be sent now; nothing is sent."""
    planned = _with_workflows(lambda workflows: workflows.preview(meeting_id))
    shown = [
        {
            "id": delivery.id,
            "integration": delivery.integration,
            "state": known.state.value if known else "new",
            **delivery.action.model_dump(mode="json"),
        }
        for delivery, known in planned
    ]
    json.dump(shown, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def retry_delivery(delivery_id: str) -> None:
    """Retry a delivery: a running server does so within half a minute, else the next start. Raises NotFoundError."""
    _with_workflows(lambda workflows: workflows.retry(delivery_id))
    sys.stdout.write("It is tried again by the server, within half a minute when one is running.\n")


def _with_workflows(use: Callable[[Workflows], Awaitable[R]]) -> R:
    async def run() -> R:
        settings = load_settings()
        storage = build_storage(settings)
        await storage.store.open()
        try:
            return await use(build_outbox(settings, storage).workflows)
        finally:
            await storage.store.close()

    return asyncio.run(run())


def _print(deliveries: list[Delivery]) -> None:
    table = Table("Id", "Integration", "State", "Attempts", "Reference or reason", title_justify="left")
    for one in deliveries:
        reference = one.receipt.reference if one.receipt else None
        table.add_row(
            one.id, one.integration, one.state, str(one.attempts), reference or one.last_error or ""
        )
    Console().print(table)
