"""What a store of objects promises, in a folder and in S3."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from meeting_assistant.adapters.storage.archive.object_store import PIECE_BYTES, ObjectStore
from meeting_assistant.domain.errors import StorageError
from meeting_assistant.domain.store_address import parse_store_address
from meeting_assistant.testing.servers.s3 import S3Server

NAME = "0123456789abcdef"


@pytest.fixture(params=["folder", "S3"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the address of an empty store."""
    if request.param == "folder":
        return f"file://{tmp_path}"
    server: S3Server = request.getfixturevalue("s3_server")
    return server.url(secrets.token_hex(8))


@pytest.fixture
def store(address: str) -> ObjectStore:
    return ObjectStore(parse_store_address(address))


def test_an_object_is_read_as_it_was_written(store: ObjectStore) -> None:
    content = secrets.token_bytes(PIECE_BYTES + 1)
    store.write(NAME, [content[:100], content[100:]])
    assert b"".join(store.read(NAME)) == content
    assert store.size(NAME) == len(content)


def test_an_object_is_available_to_the_next_process(store: ObjectStore, address: str) -> None:
    store.write(NAME, [b"recorded"])
    assert b"".join(ObjectStore(parse_store_address(address)).read(NAME)) == b"recorded"


def test_a_missing_object_has_no_size_and_cannot_be_read(store: ObjectStore) -> None:
    assert store.size(NAME) is None
    with pytest.raises(StorageError) as caught:
        list(store.read(NAME))
    assert caught.value.code == "store_object_missing"


def test_removing_an_object_removes_no_other_and_can_be_repeated(store: ObjectStore) -> None:
    store.write(NAME, [b"gone"])
    store.write(f"{NAME}-2", [b"kept"])
    store.remove(NAME)
    store.remove(NAME)
    assert (store.size(NAME), store.size(f"{NAME}-2")) == (None, 4)


def test_an_error_of_the_content_reaches_the_caller(store: ObjectStore) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"a beginning"
        raise ValueError("the source broke")

    with pytest.raises(ValueError, match="the source broke"):
        store.write(NAME, pieces())


def test_a_store_that_works_passes_its_check(store: ObjectStore) -> None:
    store.check()


def test_a_store_without_its_bucket_or_folder_fails_its_check(address: str) -> None:
    elsewhere = (
        address.replace("@recordings/", "@no-such-bucket/") if "@" in address else f"{address}/missing"
    )
    with pytest.raises(StorageError) as caught:
        ObjectStore(parse_store_address(elsewhere)).check()
    assert caught.value.code == "store_missing"
    assert caught.value.remedy
