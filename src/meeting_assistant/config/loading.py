"""Loading of the settings, with error messages for operators."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import ValidationError
from pydantic_settings import SettingsError

from meeting_assistant.config.reference import allowed_words, may_be_secret, without_password
from meeting_assistant.config.settings import Settings
from meeting_assistant.domain.errors import ConfigurationError

_OWN_PREFIXES = (
    "ALLOWED_ORIGIN",
    "ALLOW_OPEN",
    "API_TOKEN",
    "ASR_",
    "AUDIO_",
    "AZURE_OPENAI_",
    "CLIENT_LIMITS",
    "DATABASE_",
    "DIARIZATION_",
    "FLEET_",
    "ENDPOINT",
    "GOOGLE_GEMINI_",
    "INFERENCE_",
    "LLM_",
    "MAX_MEETING",
    "MAX_SESSION",
    "MAX_UPLOAD",
    "MEETING_",
    "MIN_FREE_DISK",
    "NEMO_",
    "ORCHESTRATOR_",
    "PARTIAL_",
    "SESSION_GRACE",
    "SHUTDOWN_",
    "STRICT_KEYS",
    "VAD_",
    "WORKFLOW",
)
"""Prefixes of this program alone: a variable with one of them that is not a setting is a mistake."""
_SHARED_PREFIXES = ("ANTHROPIC_", "DATA_", "HF_", "HTTP_", "LOG_", "OPENAI_", "REDIS_", "VLLM_", "XAI_")
"""Prefixes that other programs use, too: only a near miss of a setting is a mistake."""
_MOVED = {"MAX_SESSIONS_PER_OWNER": "CLIENT_LIMITS__SESSIONS_PER_OWNER"}
"""Former names of settings."""
_NESTED = "__"
_NEAR_MISS = 0.85
_NAMESAKE = 0.75
_SHOWN_CHARACTERS = 80


def load_settings(env_file: str | Path | None = ".env") -> Settings:
    """Read the environment, then `env_file` (relative to the working directory) for what it does not name.

    Raises ConfigurationError that names every wrong variable, its value and what is allowed.
    """
    try:
        return Settings(_env_file=env_file)
    except ValidationError as error:
        problems = [_problem(details) for details in error.errors()]
        raise ConfigurationError(
            " ".join(problems),
            "Correct or remove it in the environment or in .env; `docs/reference/settings.md` describes every setting.",
        ) from None
    except SettingsError as error:
        raise ConfigurationError(
            _group_problem(str(error)),
            "Correct or remove it in the environment or in .env; `docs/reference/settings.md` describes every setting.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{env_file} cannot be read: {type(error).__name__}.", "Make it a readable UTF-8 text file."
        ) from error


def unknown_variables(
    environ: Mapping[str, str] | None = None, env_file: str | Path | None = ".env"
) -> list[str]:
    """Return a sentence for each variable that looks like a setting but is none, most likely a typing error.

    Looks into the environment and `env_file`; with `environ` given, into that alone.
    """
    names = set(os.environ if environ is None else environ)
    if environ is None and env_file is not None and Path(env_file).is_file():
        names.update(dotenv_values(env_file, interpolate=False))
    known = [name.upper() for name in Settings.model_fields]
    found = ((name, _suspicion(name.upper(), known)) for name in sorted(names))
    return [f"{name} is not a setting.{hint}" for name, hint in found if hint is not None]


def _suspicion(name: str, known: list[str]) -> str | None:
    """Return a hint about a variable, or None when it is a setting or belongs to another program."""
    if name.partition(_NESTED)[0] in known:
        return None  # what stands behind the two underscores is checked by reading it
    if name in _MOVED:
        return f" It is called {_MOVED[name]} now."
    is_ours = name.startswith(_OWN_PREFIXES)
    if not is_ours and not name.startswith(_SHARED_PREFIXES):
        return None
    near = difflib.get_close_matches(name, known, n=1, cutoff=_NAMESAKE if is_ours else _NEAR_MISS)
    if near:
        return f" Did you mean {near[0]}?"
    return "" if is_ours else None


def _group_problem(message: str) -> str:
    """Return what is wrong with a group of settings that was given as one text, which pydantic-settings names only in
    its message."""
    found = re.search(r'field "(\w+)"', message)
    name = found[1] if found else ""
    if name not in Settings.model_fields:
        return "The settings cannot be read."
    return f"{name.upper()} cannot be used: its parts are set one by one. Allowed: {allowed_words(name)}."


def _problem(details: Any) -> str:
    name = str(details["loc"][0])
    variable = _NESTED.join(str(part) for part in details["loc"] if part != "[key]").upper()
    reason = str(details["ctx"]["error"]) if details["type"] == "value_error" else ""
    because = f": {reason}" if reason else ""
    parts = [str(part) for part in details["loc"][1:]]
    return f"{variable}{_shown(name, parts, details['input'])} cannot be used{because}. Allowed: {allowed_words(name)}."


def _shown(name: str, parts: list[str], value: object) -> str:
    if may_be_secret(name, parts):
        return " (value not shown)"
    text = without_password(",".join(value) if isinstance(value, tuple) else str(value))
    return f"={text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + '…'}"
