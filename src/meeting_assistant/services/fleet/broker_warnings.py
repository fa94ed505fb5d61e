"""Warnings about the broker, for operators."""

from __future__ import annotations

import logging

from meeting_assistant import observability as obs
from meeting_assistant.domain.ports import GatewayLink, WorkerLink

logger = logging.getLogger(__name__)


async def log_broker_warnings(link: GatewayLink | WorkerLink) -> None:
    """Log what an operator should change about the broker. Raises BrokerError."""
    for warning in await link.warnings():
        logger.warning("Redis should be configured differently.", extra=obs.log_fields(problem=warning))
