"""SIGHUP reads the tokens again: one that was removed ends at once, without a restart that would interrupt meetings."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from functools import partial

from meeting_assistant.config import load_settings
from meeting_assistant.domain.errors import ConfigurationError
from meeting_assistant.observability import log_fields
from meeting_assistant.services.admin.access_service import AccessService

logger = logging.getLogger(__name__)


def reload_on_hangup(access: AccessService) -> None:
    """Read the tokens again whenever SIGHUP comes, on systems that have it.

    A server without tokens has none to read: it ends, as ever, when the terminal is closed in which it was started.
    """
    if hasattr(signal, "SIGHUP") and not access.is_open:
        # Signals reach only the loop of the main thread; a server that runs in another one is restarted instead.
        with contextlib.suppress(RuntimeError, ValueError, NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, partial(reload_tokens, access))


def reload_tokens(access: AccessService) -> None:
    """Replace the tokens by those that `.env` and the environment name now. When that fails, the old ones stay."""
    try:
        grants = load_settings().token_grants()
        access.replace_grants(grants)
    except (ConfigurationError, ValueError) as error:
        logger.error(  # noqa: TRY400 - the text of the error may hold a setting
            "Failed to reload API_TOKENS; the old tokens stay.", extra=log_fields(error=type(error).__name__)
        )
    else:
        logger.info("Reloaded API_TOKENS.", extra=log_fields(tokens=len(grants)))
