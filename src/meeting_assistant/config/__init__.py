"""The settings: one typed class, read once from the environment and `.env`.

`settings.py` holds the class, `loading.py` reads it and says what is wrong, `reference.py` writes it out for
people. No other module reads the environment.
"""

from __future__ import annotations

from meeting_assistant.config.loading import load_settings, unknown_variables
from meeting_assistant.config.reference import EffectiveSetting, effective, env_example, markdown
from meeting_assistant.config.settings import Settings

__all__ = [
    "EffectiveSetting",
    "Settings",
    "effective",
    "env_example",
    "load_settings",
    "markdown",
    "unknown_variables",
]
