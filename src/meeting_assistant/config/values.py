"""Types of single settings, each with the sentence that says what is allowed.

The sentence is part of the type (`Allowed`), so that the error message, the documentation and the check itself cannot
disagree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

from meeting_assistant.domain.access import Scope, TokenGrant, token_digest
from meeting_assistant.domain.store_address import parse_store_address

ProviderName = Literal["vllm", "xai", "openai", "azure", "anthropic", "gemini", "embedded"]
PROVIDERS: tuple[ProviderName, ...] = ("vllm", "xai", "openai", "azure", "anthropic", "gemini", "embedded")

_FERNET_KEY = re.compile(r"[A-Za-z0-9_-]{43}=")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
_HOST = re.compile(r"[A-Za-z0-9._:%-]+")


@dataclass(frozen=True, slots=True)
class Allowed:
    """A description of the allowed values, in words that follow "Allowed:"."""

    words: str


def split_keys(joined: SecretStr | None) -> list[str]:
    """Return the keys of a comma separated list, in order."""
    return _parts(joined.get_secret_value()) if joined else []


def _parts(text: str) -> list[str]:
    return [part for part in (piece.strip() for piece in text.split(",")) if part]


def _comma_list(value: object) -> object:
    return tuple(_parts(value)) if isinstance(value, str) else value


def _fernet_keys(joined: SecretStr) -> SecretStr:
    keys = split_keys(joined)
    for position, key in enumerate(keys, start=1):
        if not _FERNET_KEY.fullmatch(key):
            raise ValueError(f"key {position} of {len(keys)} is not a Fernet key")
    return joined


def _providers(names: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(name.lower() for name in names)
    unknown = [name for name in names if name not in PROVIDERS]
    if unknown:
        raise ValueError(f"unknown provider {', '.join(unknown)}")
    if len(set(names)) < len(names):
        raise ValueError("a provider is named twice")
    return names


def _origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    for origin in origins:
        parts = _url_parts(origin)
        if parts.path or parts.query or parts.fragment:
            raise ValueError(f"{origin} has a path: an origin is scheme, host and port only")
    return origins


def _url(value: str) -> str:
    _url_parts(value)
    return value.rstrip("/")


def _url_parts(value: str) -> _Parts:
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise ValueError("not an http(s) address")
    return _Parts(parts.path, parts.query, parts.fragment)


@dataclass(frozen=True, slots=True)
class _Parts:
    path: str
    query: str
    fragment: str


def _endpoint(value: str) -> str:
    return value if value.startswith("/") else _url(value)


def _host(value: str) -> str:
    if not _HOST.fullmatch(value):
        raise ValueError("not a host name or address")
    return value


def _language(value: str) -> str | None:
    if value.lower() == "auto":
        return None
    if not _LANGUAGE.fullmatch(value):
        raise ValueError("not a language tag")
    return value


def _retention(value: str) -> str:
    if not re.fullmatch(r"keep|days:[1-9]\d{0,4}|delete-after-minutes", value):
        raise ValueError("unknown kind of retention")
    return value


_OWNER = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{20,256}")
_DIGEST = re.compile(r"sha256=([0-9a-f]{64})")


def _api_tokens(joined: SecretStr) -> SecretStr:
    token_grants(joined)
    return joined


def token_grants(joined: SecretStr | None) -> list[TokenGrant]:
    """Return the tokens of `API_TOKENS`: `name:token` or `name:scope+scope:token`. Raises ValueError."""
    entries = _parts(joined.get_secret_value()) if joined else []
    grants = [_grant(entry, f"entry {n} of {len(entries)}") for n, entry in enumerate(entries, start=1)]
    if len({grant.digest for grant in grants}) < len(grants):
        raise ValueError("a token is given twice")
    return grants


def _grant(entry: str, place: str) -> TokenGrant:
    owner, *scopes, token = entry.split(":") if entry.count(":") in (1, 2) else ("", "")
    if not _OWNER.fullmatch(owner):
        raise ValueError(f"{place} does not begin with a name and a colon")
    names = scopes[0].split("+") if scopes else [Scope.RECORD, Scope.READ]
    unknown = [name for name in names if name not in set(Scope)]
    if unknown:
        raise ValueError(f"{place} has an unknown scope")
    stored = _DIGEST.fullmatch(token)
    if stored is None and not _TOKEN.fullmatch(token):
        raise ValueError(f"{place} has a token of fewer than 20 or of unusual characters")
    digest = bytes.fromhex(stored[1]) if stored else token_digest(token)
    return TokenGrant(owner, frozenset(map(Scope, names)), digest)


def _database_url(url: SecretStr) -> SecretStr:
    scheme, separator, rest = url.get_secret_value().partition("://")
    if not separator or scheme not in ("postgresql", "postgres", "postgresql+asyncpg") or not rest:
        raise ValueError("it does not begin with postgresql://")
    return SecretStr(f"postgresql+asyncpg://{rest}")


def _audio_store_url(url: SecretStr) -> SecretStr:
    parse_store_address(url.get_secret_value())
    return url


def _redis_url(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("it does not begin with redis://, rediss:// or unix://")
    return url


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_comma_list)]
Origins = Annotated[
    CommaList, AfterValidator(_origins), Allowed("origins such as https://notes.example, comma separated")
]
ProviderOrder = Annotated[
    CommaList,
    AfterValidator(_providers),
    Allowed(f"any of {', '.join(PROVIDERS)}, comma separated, each once"),
]
Names = Annotated[CommaList, Allowed("names, comma separated")]
DatabaseUrl = Annotated[
    SecretStr, AfterValidator(_database_url), Allowed("an address that begins with postgresql://")
]
AudioStoreUrl = Annotated[
    SecretStr,
    AfterValidator(_audio_store_url),
    Allowed("s3://bucket/prefix or file:///folder"),
]
RedisUrl = Annotated[
    SecretStr, AfterValidator(_redis_url), Allowed("an address that begins with redis:// or rediss://")
]
WorkflowOptions = Annotated[
    dict[str, dict[str, SecretStr]], Allowed("WORKFLOWS__INTEGRATION__OPTION, each a text")
]
FernetKeys = Annotated[
    SecretStr,
    AfterValidator(_fernet_keys),
    Allowed("Fernet keys (32 bytes in url-safe base64, 44 characters), comma separated"),
]
Url = Annotated[str, AfterValidator(_url), Allowed("an address that begins with http:// or https://")]
Endpoint = Annotated[
    str, AfterValidator(_endpoint), Allowed("a path that begins with /, or a whole http(s) address")
]
Host = Annotated[str, AfterValidator(_host), Allowed("a host name or an IP address")]
Language = Annotated[str, AfterValidator(_language), Allowed("a language tag such as en or pt-BR, or auto")]
Retention = Annotated[str, AfterValidator(_retention), Allowed("keep, days:N or delete-after-minutes")]
ApiTokens = Annotated[
    SecretStr,
    AfterValidator(_api_tokens),
    Allowed(
        "name:token or name:scope+scope:token, comma separated; scopes are record, read, admin; a token has at least "
        "20 characters, or is sha256= and the hex digest of one"
    ),
]
Directory = Annotated[Path, AfterValidator(_absolute), Allowed("a directory")]
File = Annotated[Path, AfterValidator(_absolute), Allowed("a file")]
