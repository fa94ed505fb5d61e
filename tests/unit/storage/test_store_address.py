"""`AUDIO_STORE_URL`: valid forms, error messages, and secrets that are masked."""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from meeting_assistant.adapters.storage.archive.object_store import ObjectStore
from meeting_assistant.config import load_settings
from meeting_assistant.domain.errors import ConfigurationError, StorageError
from meeting_assistant.domain.store_address import StoreAddress, parse_store_address
from meeting_assistant.launcher import free_port

SECRET = "wJalrXUtnFEMI/K7MDENG+bPx"
QUOTED = "wJalrXUtnFEMI%2FK7MDENG%2BbPx"


def test_an_address_with_all_parts_is_parsed() -> None:
    url = f"s3://AKIA:{QUOTED}@minutes/of/ours/?endpoint=http://minio:9000&region=eu-central-1"
    address = parse_store_address(url)
    assert address == StoreAddress(
        "s3", "minutes/of/ours", "AKIA", SECRET, "http://minio:9000", "eu-central-1"
    )
    assert str(address) == "s3://minutes/of/ours"
    assert SECRET not in repr(address)


def test_a_bucket_alone_and_a_folder_are_parsed() -> None:
    assert parse_store_address("s3://minutes") == StoreAddress("s3", "minutes")
    assert parse_store_address("file:///mnt/our%20disk/") == StoreAddress("file", "/mnt/our disk")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("/mnt/disk", "does not begin with file:// or s3://"),
        ("gs://bucket", "does not begin with file:// or s3://"),
        ("file://mnt/disk", "three slashes"),
        ("file:///", "and nothing else"),
        ("s3://", "names no bucket"),
        ("s3://A:B@/prefix", "names no bucket"),
        (f"s3://AKIA@bucket?x={SECRET}", "half of an access key"),
        ("s3://bucket?endpoint=minio:9000", "endpoint is not an http"),
        ("s3://bucket?endpont=http://minio", "only endpoint= and region="),
    ],
)
def test_an_invalid_address_is_explained_and_not_echoed(
    url: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDIO_STORE_URL", url)
    with pytest.raises(ConfigurationError) as refused:
        load_settings(None)
    assert reason in str(refused.value)
    assert "AUDIO_STORE_URL (value not shown)" in str(refused.value)
    assert SECRET not in str(refused.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"meeting-assistant\[s3\]"):
        ObjectStore(StoreAddress("s3", "bucket"))
    ObjectStore(StoreAddress("file", "/tmp"))


def test_a_missing_folder_is_not_created(tmp_path: Path) -> None:
    """The folder may be the mount point of a disk that is not mounted."""
    store = ObjectStore(StoreAddress("file", str(tmp_path / "mnt")))
    attempts: list[Callable[[], object]] = [
        store.check,
        partial(store.write, "x", [b"y"]),
        partial(store.size, "x"),
        partial(store.remove, "x"),
    ]
    for attempt in attempts:
        with pytest.raises(StorageError, match="folder of AUDIO_STORE_URL does not exist") as refused:
            attempt()
        assert refused.value.code == "store_missing"
    assert not (tmp_path / "mnt").exists()


class Refusing(BaseHTTPRequestHandler):
    """An object store that refuses every key."""

    protocol_version = "HTTP/1.1"

    def refuse(self) -> None:
        answer = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(403)
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = refuse  # noqa: N815

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def refusing() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def refusals(endpoint: str) -> Iterator[StorageError]:
    store = ObjectStore(parse_store_address(f"s3://AKIA:{QUOTED}@bucket/p?endpoint={endpoint}&region=r"))
    attempts: list[Callable[[], object]] = [
        store.check,
        partial(store.write, "x", [b"y"]),
        lambda: list(store.read("x")),
        partial(store.size, "x"),
        partial(store.remove, "x"),
    ]
    for attempt in attempts:
        with pytest.raises(StorageError) as refused:
            attempt()
        yield refused.value


def test_a_refused_key_is_reported(refusing: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for error in refusals(refusing):
        assert error.code == "store_denied"
        assert "the right to read, write and delete" in error.remedy
        assert SECRET not in str(error) + caplog.text


def test_an_unreachable_store_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for error in refusals(f"http://127.0.0.1:{free_port()}"):
        assert error.code == "store_unreachable"
        assert SECRET not in str(error) + caplog.text
