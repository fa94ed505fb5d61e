"""Registry of integrations: which there are, and which of them are configured.

Those of this package stand in a table; a package outside adds its own by an entry point of the group
`meeting_assistant.integrations` whose name is the integration's and which leads to its class.
See `docs/how-to/add-an-integration.md`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoints, entry_points
from typing import Any, Protocol

from meeting_assistant import observability as obs
from meeting_assistant.domain.errors import ConfigurationError
from meeting_assistant.domain.ports import Integration
from meeting_assistant.domain.workflows import Description
from meeting_assistant.integrations.options import IntegrationOptions, read_options

logger = logging.getLogger(__name__)

GROUP = "meeting_assistant.integrations"
_OWN = {
    "slack": "slack:SlackIntegration",
    "teams": "teams:TeamsIntegration",
    "mattermost": "mattermost:MattermostIntegration",
    "email": "mail:MailIntegration",
    "webhook": "webhook:WebhookIntegration",
    "jira": "jira:JiraIntegration",
    "linear": "linear:LinearIntegration",
    "github": "github:GitHubIntegration",
    "caldav": "caldav:CaldavIntegration",
    "markdown": "markdown_notes:MarkdownIntegration",
    "log": "audit_log:AuditLogIntegration",
}
"""In the order in which they are shown."""


class IntegrationClass(Protocol):
    """Class that the name of an integration leads to."""

    name: str
    Options: type[IntegrationOptions]

    def __call__(self, options: Any) -> Integration:
        """Create an integration from its options."""
        ...


@cache
def _installed() -> EntryPoints:
    """Return the entry points, found once: it reads a file of every package that is installed."""
    return entry_points(group=GROUP)


def names() -> list[str]:
    """Return the names of all integrations, our own first."""
    return [*_OWN, *sorted(point.name for point in _installed() if point.name not in _OWN)]


def class_of(name: str) -> IntegrationClass:
    """Import an integration's class; one that is not configured costs nothing. Raises ConfigurationError."""
    if name in _OWN:
        module, _, kind = _OWN[name].partition(":")
        found: IntegrationClass = getattr(
            import_module(f"meeting_assistant.integrations.targets.{module}"), kind
        )
        return found
    for point in _installed():
        if point.name == name:
            loaded: IntegrationClass = point.load()
            return loaded
    raise ConfigurationError(
        f"There is no integration called {name}.",
        f"There are: {', '.join(names())}. See docs/reference/integrations.md.",
    )


def described(name: str, integration: Integration) -> Description:
    """Return an integration's description. One that fails to describe itself stops nothing else."""
    try:
        return integration.describe()
    except Exception:
        logger.exception("An integration cannot describe itself.", extra=obs.log_fields(integration=name))
        return Description(name, "unknown: it cannot describe itself")


def build(configured: Mapping[str, Mapping[str, str]]) -> dict[str, Integration]:
    """Build the integrations for which there are options, in the order of `names`. Raises ConfigurationError."""
    for name in configured:
        class_of(name)
    built: dict[str, Integration] = {}
    for name in names():
        if name in configured:
            kind = class_of(name)
            built[name] = kind(read_options(name, kind.Options, configured[name]))
    return built
