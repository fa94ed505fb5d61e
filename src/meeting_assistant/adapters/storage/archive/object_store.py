"""Objects in a folder or in an S3-compatible store: the only file that knows fsspec.

An object is written once under a name that was never used before and is never changed. Blocks; any thread but the
event loop's.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]

from meeting_assistant.adapters.storage.journal import durable_files
from meeting_assistant.domain.errors import ConfigurationError, MeetingAssistantError, StorageError
from meeting_assistant.domain.store_address import StoreAddress
from meeting_assistant.net.routes import route_to

PIECE_BYTES = 1 << 20
_PART_BYTES = 8 << 20
"""What is held in memory while an object is sent: one part of it."""
_CONNECT_S, _ANSWER_S, _ATTEMPTS = 5, 20, 3
"""Short, so that an outage is noticed soon: every operation is retried later anyway."""


class ObjectStore:
    """One bucket or folder of objects.

    Errors are StorageError with a code: `store_unreachable`, `store_denied`, `store_missing` (no such bucket or
    folder), `store_object_missing`."""

    def __init__(self, address: StoreAddress) -> None:
        """Connect with the first request. Raises ConfigurationError when the package for S3 is missing."""
        self.address = address
        if address.kind == "s3" and importlib.util.find_spec("s3fs") is None:
            raise ConfigurationError(
                "AUDIO_STORE_URL names an S3 store, and the package s3fs is not installed.",
                "Install it: `pip install 'meeting-assistant[s3]'`.",
            )
        self._files = _file_system(address)

    def write(self, name: str, pieces: Iterable[bytes]) -> None:
        """Write an object. When `pieces` raises, a part of the object may remain, or none."""
        with self._translate_errors():
            self._check_folder()
            with self._files.open(self._path(name), "wb", block_size=_PART_BYTES) as file:
                try:
                    for piece in pieces:
                        file.write(piece)
                    if self.address.kind == "file":
                        file.flush()
                        os.fsync(file.fileno())
                except BaseException:
                    if self.address.kind == "s3":
                        with contextlib.suppress(Exception):
                            file.discard()
                        file.closed = True  # else the end of the block would send what there is
                    raise
            if self.address.kind == "file":
                durable_files.sync_directory(Path(self.address.root))

    def read(self, name: str) -> Iterator[bytes]:
        """Yield an object in pieces, from its start."""
        with (
            self._translate_errors(name),
            self._files.open(self._path(name), "rb", block_size=_PART_BYTES) as file,
        ):
            while piece := file.read(PIECE_BYTES):
                yield piece

    def size(self, name: str) -> int | None:
        """Return the length of an object in bytes; None when there is no such object."""
        try:
            with self._translate_errors(name):
                return int(self._files.info(self._path(name))["size"])
        except StorageError as error:
            if error.code == "store_object_missing":
                return None
            raise

    def remove(self, name: str) -> None:
        """Remove an object, if it exists."""
        try:
            with self._translate_errors(name):
                self._check_folder()
                self._files.rm_file(self._path(name))
        except StorageError as error:
            if error.code != "store_object_missing":
                raise

    def check(self) -> None:
        """Write, read back and remove a small object. Raises StorageError."""
        name, content = f".check-{secrets.token_hex(8)}", secrets.token_bytes(64)
        self.write(name, [content])
        try:
            if b"".join(self.read(name)) != content:
                raise StorageError(
                    f"The object store {self.address} gave back something else than was written.",
                    "Check the store; recordings stay on this machine's disk meanwhile.",
                    code="store_broken",
                )
        finally:
            self.remove(name)

    def _path(self, name: str) -> str:
        return f"{self.address.root}/{name}"

    def _check_folder(self) -> None:
        """Require the folder: making it would put recordings on the wrong disk when theirs is not mounted."""
        if self.address.kind == "file" and not Path(self.address.root).is_dir():
            raise FileNotFoundError(self.address.root)

    @contextlib.contextmanager
    def _translate_errors(self, name: str | None = None) -> Iterator[None]:
        """Translate what the libraries below raise; messages hold no address with a secret in it."""
        try:
            yield
        except MeetingAssistantError:
            raise
        except FileNotFoundError as error:
            raise self._missing(name) from error
        except PermissionError as error:
            raise self._denied() from error
        except ConnectionError as error:
            raise self._unreachable() from error
        except OSError as error:
            if _status(error) == 403:
                raise self._denied() from error
            if self.address.kind == "file":
                raise durable_files.storage_error(error) from error
            raise self._unreachable() from error
        except Exception as error:
            if self.address.kind == "file" or not _is_of_transport(error):
                raise
            raise self._denied() if "Credentials" in type(error).__name__ else self._unreachable() from error

    def _missing(self, name: str | None) -> StorageError:
        if name is not None and self._has_root():
            return StorageError(
                f"A recording is missing from the object store {self.address}.",
                "Restore the object from the store's own backup or versions.",
                code="store_object_missing",
            )
        what = "bucket" if self.address.kind == "s3" else "folder"
        return StorageError(
            f"The {what} of AUDIO_STORE_URL does not exist: {self.address}.",
            f"Make the {what} (or mount it), or correct AUDIO_STORE_URL.",
            code="store_missing",
        )

    def _has_root(self) -> bool:
        if self.address.kind == "file":
            return Path(self.address.root).is_dir()
        with contextlib.suppress(Exception):
            return bool(self._files.exists(self.address.root.partition("/")[0]))
        return True

    def _denied(self) -> StorageError:
        return StorageError(
            f"The object store {self.address} does not permit this.",
            "Give the server's access key (or this user) the right to read, write and delete there.",
            code="store_denied",
        )

    def _unreachable(self) -> StorageError:
        return StorageError(
            f"The object store {self.address} cannot be reached.",
            "Check AUDIO_STORE_URL, the network and the store; it is tried again by itself.",
            code="store_unreachable",
        )


def _file_system(address: StoreAddress) -> Any:
    if address.kind == "file":
        return fsspec.filesystem("file", auto_mkdir=False, skip_instance_cache=True)
    route = route_to(address.url)
    if route.proxy is not None and not route.proxy.startswith(("http://", "https://")):
        raise ConfigurationError(
            f"The object store {address} cannot be reached by the proxy {route.shown_proxy}.",
            "Use a proxy with http:// or https:// for it, or name its host in NO_PROXY.",
        )
    files = fsspec.filesystem(
        "s3",
        key=address.access_key,
        secret=address.secret_key,
        endpoint_url=address.endpoint,
        client_kwargs={"region_name": address.region} if address.region else {},
        config_kwargs={
            "connect_timeout": _CONNECT_S,
            "read_timeout": _ANSWER_S,
            "retries": {"max_attempts": 0},  # s3fs has attempts of its own
            # An empty choice keeps the library from reading the environment by rules of its own.
            "proxies": {} if route.proxy is None else {"http": route.proxy, "https": route.proxy},
        },
        default_cache_type="readahead",
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    files.retries = _ATTEMPTS
    return files


def _status(error: BaseException) -> int | None:
    """Return the HTTP status of the store's answer, where the error has one."""
    answer = getattr(error.__cause__, "response", None) or getattr(error, "response", None)
    if isinstance(answer, dict):
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return int(status) if status else None
    return None


def _is_of_transport(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] in {
        "botocore",
        "aiobotocore",
        "aiohttp",
        "fsspec",
        "s3fs",
    }
