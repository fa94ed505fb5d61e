"""Options of integrations: what they share, and how wrong ones are told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from meeting_assistant.domain.errors import ConfigurationError


class IntegrationOptions(BaseModel):
    """The base of every integration's options; each arrives as the text that stands in the environment."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )


O = TypeVar("O", bound=IntegrationOptions)  # noqa: E741 - the usual letter


def _is_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("an address that begins with https:// (or http://) is needed")
    return url.rstrip("/")


def _is_secret_address(url: SecretStr) -> SecretStr:
    return SecretStr(_is_address(url.get_secret_value()))


def _list(value: object) -> object:
    if isinstance(value, str):
        return [part for part in (piece.strip() for piece in value.split(",")) if part]
    return value


def _table(value: object) -> object:
    """`Ben=ben@example.org, Ana=ana` or a JSON object."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("{"):
        return json.loads(value)
    pairs = (piece.partition("=") for piece in value.split(",") if piece.strip())
    return {name.strip(): found.strip() for name, _, found in pairs}


Address = Annotated[str, AfterValidator(_is_address)]
SecretAddress = Annotated[SecretStr, AfterValidator(_is_secret_address)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_list)]
SecretAddresses = Annotated[tuple[SecretAddress, ...], BeforeValidator(_list), Field(min_length=1)]
Secrets = Annotated[tuple[SecretStr, ...], BeforeValidator(_list), Field(min_length=1)]
People = Annotated[dict[str, str], BeforeValidator(_table)]


def read_options(name: str, kind: type[O], given: Mapping[str, str]) -> O:
    """Return the options. Raises ConfigurationError that names every wrong or missing variable, without values."""
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        problems = [_problem(name, details["loc"], details["msg"]) for details in error.errors()]
    raise ConfigurationError(
        " ".join(problems),
        f"Correct it in the environment or in .env; `docs/reference/integrations.md` lists the options of {name}.",
    )


def variable(name: str, option: str) -> str:
    """Return the name of the environment variable of an option, such as `WORKFLOWS__JIRA__URL`."""
    return f"WORKFLOWS__{name}__{option}".upper()


def _problem(name: str, loc: tuple[int | str, ...], message: str) -> str:
    place = variable(name, str(loc[0])) if loc else f"WORKFLOWS__{name.upper()}"
    return f"{place}: {message.removeprefix('Value error, ')}."


def mapped(owner: str | None, people: Mapping[str, str]) -> str | None:
    """Return the target's name of an owner, whatever its spaces and capitals; None for one not in the table."""
    if owner is None:
        return None
    wanted = " ".join(owner.casefold().split())
    return next(
        (there for name, there in people.items() if " ".join(name.casefold().split()) == wanted), None
    )
