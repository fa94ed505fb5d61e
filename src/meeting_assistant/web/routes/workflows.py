"""Integrations, deliveries with their approval, and calendars over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi import Path as PathParam
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from meeting_assistant.domain.workflows import Delivery, DeliveryState
from meeting_assistant.web.middleware.auth import Admin, Context, OwnMeeting, ReadableMeeting, Reader

router = APIRouter(prefix="/api", tags=["workflows"])

DeliveryId = Annotated[str, PathParam(max_length=36)]
IntegrationName = Annotated[str, PathParam(max_length=64)]
CALENDAR = "text/calendar; charset=utf-8"


class IntegrationInfo(BaseModel):
    """An integration that is configured on this server."""

    name: str
    title: str
    target: str
    """Where it delivers to; no secrets."""
    is_automatic: bool
    """It delivers by itself; else it proposes and waits for a click."""
    is_local: bool
    """Nothing leaves the operator's machines."""
    is_exactly_once: bool
    """The target recognises what it got already; else an attempt that is cut short may arrive twice."""


class TestResult(BaseModel):
    """The outcome of a test of an integration."""

    message: str


class PreviewItem(BaseModel):
    """An action that would be delivered now."""

    delivery: Delivery
    """As it would go into the outbox."""
    state: DeliveryState | None
    """Of what stands in the outbox under that id; null for what is new."""
    is_changed: bool
    """What was delivered, or waits, differs from what the minutes say now."""


class Choice(BaseModel):
    """The integrations that may receive a meeting."""

    model_config = ConfigDict(extra="forbid")
    names: list[Annotated[str, Field(max_length=64)]] | None = Field(max_length=64)
    """Null for all that are configured."""


@router.get("/integrations")
async def integrations(context: Context, caller: Reader) -> list[IntegrationInfo]:
    """List the configured integrations."""
    return [
        IntegrationInfo(
            name=one.name,
            title=one.description.title,
            target=one.description.target,
            is_automatic=one.is_automatic,
            is_local=one.description.is_local,
            is_exactly_once=one.description.is_exactly_once,
        )
        for one in context.workflows.configured()
    ]


@router.post("/integrations/{name}/test")
async def test_integration(context: Context, caller: Admin, name: IntegrationName) -> TestResult:
    """Prove that it works: a line in a channel, a look at a project."""
    return TestResult(message=await context.workflows.test(name))


@router.get("/deliveries")
async def recent_deliveries(
    context: Context, caller: Reader, state: Annotated[list[DeliveryState] | None, Query()] = None
) -> list[Delivery]:
    """The newest of the caller's meetings, by default those that need somebody."""
    wanted = state or [DeliveryState.PROPOSED, DeliveryState.PARKED]
    owner = None if context.access.is_open else caller.owner
    return await context.workflows.recent(wanted, owner)


@router.get("/meetings/{meeting_id}/deliveries")
async def deliveries(context: Context, meeting_id: OwnMeeting) -> list[Delivery]:
    """List the deliveries of a meeting in every state."""
    return await context.workflows.of_meeting(meeting_id)


@router.post("/meetings/{meeting_id}/deliveries", status_code=201)
async def plan_again(context: Context, meeting_id: OwnMeeting) -> list[Delivery]:
    """Plan deliveries again after a change of the minutes or the choice; return the new ones."""
    return await context.workflows.run_again(meeting_id)


@router.get("/meetings/{meeting_id}/deliveries/preview")
async def preview(context: Context, meeting_id: OwnMeeting) -> list[PreviewItem]:
    """A dry run: exactly what would be sent now."""
    return [
        PreviewItem(
            delivery=planned,
            state=known.state if known else None,
            is_changed=known is not None and known.action != planned.action,
        )
        for planned, known in await context.workflows.preview(meeting_id)
    ]


@router.post("/meetings/{meeting_id}/deliveries/{delivery_id}/approve")
async def approve(context: Context, meeting_id: OwnMeeting, delivery_id: DeliveryId) -> Delivery:
    """Deliver what was proposed, with the words that the minutes have now."""
    return await context.workflows.approve(meeting_id, delivery_id)


@router.post("/meetings/{meeting_id}/deliveries/{delivery_id}/dismiss")
async def dismiss(context: Context, meeting_id: OwnMeeting, delivery_id: DeliveryId) -> Delivery:
    """Dismiss a proposed delivery."""
    return await context.workflows.dismiss(meeting_id, delivery_id)


@router.post("/meetings/{meeting_id}/deliveries/{delivery_id}/retry")
async def retry_delivery(context: Context, meeting_id: OwnMeeting, delivery_id: DeliveryId) -> Delivery:
    """Retry a delivery that was parked or dismissed."""
    return await context.workflows.retry(delivery_id, meeting_id)


@router.put("/meetings/{meeting_id}/workflows", status_code=204)
async def choose(context: Context, meeting_id: OwnMeeting, choice: Choice) -> None:
    """Set the integrations that may receive this meeting from now on."""
    await context.workflows.choose(meeting_id, choice.names)


@router.get("/meetings/{meeting_id}/calendar.ics", response_class=Response)
async def calendar(context: Context, meeting_id: ReadableMeeting) -> Response:
    """Export due days and agreed meetings as a calendar file."""
    headers = {"Content-Disposition": 'attachment; filename="meeting.ics"'}
    return Response(await context.workflows.calendar(meeting_id), media_type=CALENDAR, headers=headers)


@router.get("/calendar.ics", response_class=Response)
async def feed(context: Context, caller: Reader) -> Response:
    """The same of the caller's newest meetings, to subscribe to. A calendar program that cannot send a bearer token
    signs in with any user name and the token as its password."""
    owner = None if context.access.is_open else caller.owner
    return Response(await context.workflows.feed(owner), media_type=CALENDAR)
