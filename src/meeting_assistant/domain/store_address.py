"""The address of the object store for finished recordings. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """The address of an object store, with the keys to it."""

    kind: Literal["file", "s3"]
    root: str
    """A folder, or a bucket with a prefix; no slash at the end."""
    access_key: str | None = field(default=None, repr=False)
    """None leaves it to the environment, the profile or the role of the machine."""
    secret_key: str | None = field(default=None, repr=False)
    endpoint: str | None = None
    """Of an S3-compatible server; None for Amazon's."""
    region: str | None = None

    @property
    def url(self) -> str:
        """Where an S3 store is reached."""
        return self.endpoint or f"https://s3.{self.region or 'us-east-1'}.amazonaws.com"

    def __str__(self) -> str:
        """Return the address without secrets."""
        return f"{self.kind}://{self.root}"


def parse_store_address(url: str) -> StoreAddress:
    """Parse `AUDIO_STORE_URL`. Raises ValueError, whose message never repeats the URL."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("it is not an address") from None
    if parts.scheme == "file":
        return _folder(parts)
    if parts.scheme == "s3":
        return _bucket(parts)
    raise ValueError("it does not begin with file:// or s3://")


def _folder(parts: SplitResult) -> StoreAddress:
    if parts.netloc not in ("", "localhost"):
        raise ValueError("a folder is written with three slashes, file:///folder")
    root = unquote(parts.path).rstrip("/")
    if not root or parts.query or parts.fragment:
        raise ValueError("a folder is written as file:///folder, and nothing else")
    return StoreAddress("file", root)


def _bucket(parts: SplitResult) -> StoreAddress:
    place = parts.netloc.rpartition("@")[2]
    if not _BUCKET.fullmatch(place):
        raise ValueError("it names no bucket (s3://bucket/prefix)")
    if bool(parts.username) != bool(parts.password):
        raise ValueError("it has half of an access key (s3://KEY:SECRET@bucket)")
    options = dict(parse_qsl(parts.query))
    if parts.fragment or set(options) - {"endpoint", "region"}:
        raise ValueError("after the ? only endpoint= and region= are known")
    endpoint = options.get("endpoint")
    if endpoint is not None:
        server = urlsplit(endpoint)
        if server.scheme not in ("http", "https") or not server.hostname or server.username:
            raise ValueError("its endpoint is not an http(s) address")
    prefix = unquote(parts.path).strip("/")
    return StoreAddress(
        "s3",
        f"{place}/{prefix}" if prefix else place,
        unquote(parts.username) if parts.username else None,
        unquote(parts.password) if parts.password else None,
        endpoint,
        options.get("region"),
    )
