"""The form of an upload goes to its file as it arrives, whatever the pieces, and is refused where it is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.types import Message

from meeting_assistant.domain.errors import InputError, MeetingAssistantError, TooLargeError
from meeting_assistant.services.meetings.upload_budget import UploadBudget
from meeting_assistant.web.upload_form import MAX_FIELDS, MAX_FIELDS_BYTES, ArrivingForm, receive_form

MAX_FILE_BYTES = 100_000
AUDIO = bytes(range(256)) * 20 + b"\r\n--x\r\n--"


def field(name: str, value: bytes) -> bytes:
    return b'--x-\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), value)


def file(content: bytes, name: str = "talk.wav") -> bytes:
    head = b'--x-\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\nContent-Type: audio/wav\r\n\r\n'
    return head % name.encode() + content + b"\r\n"


END = b"--x---\r\n"


async def received(
    body: bytes, path: Path, *, piece: int = 1 << 16, kind: str = "multipart/form-data"
) -> FormData:
    pieces = [body[start : start + piece] for start in range(0, len(body), piece)]

    async def receive() -> Message:
        if not pieces:
            return {"type": "http.disconnect"}
        return {
            "type": "http.request",
            "body": pieces.pop(0),
            "more_body": bool(pieces) or not body.endswith(END),
        }

    headers = [(b"content-type", f"{kind}; boundary=x-".encode())]
    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    with UploadBudget(lambda _: None).admit("ana", None) as slot:
        return await receive_form(request, ArrivingForm(path, MAX_FILE_BYTES), slot)


def contents(form: FormData) -> bytes:
    upload = form["file"]
    assert isinstance(upload, UploadFile)
    with upload.file as content:
        content.seek(0)
        return content.read()


@given(st.integers(1, 6000), st.binary(max_size=3000))
async def test_a_form_is_the_same_in_pieces_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, piece: int, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "incoming"
    body = field("title", "Jérôme".encode()) + file(AUDIO + content, "größe.wav") + field("after", b"1") + END
    form = await received(body, path, piece=piece)
    upload = form["file"]
    assert isinstance(upload, UploadFile)
    assert (form["title"], form["after"], upload.filename) == ("Jérôme", "1", "größe.wav")
    assert contents(form) == AUDIO + content == path.read_bytes()


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (file(b"a") + file(b"b") + END, InputError),
        (file(bytes(MAX_FILE_BYTES + 1)) + END, TooLargeError),
        (field("title", bytes(MAX_FIELDS_BYTES + 1)) + END, InputError),
        (field("title", b"") * (MAX_FIELDS + 1) + END, InputError),
        (b"--x-\r\n" + b"X: " + b"y" * 10_000 + b"\r\n" + END, InputError),
        (b"no form at all" + END, InputError),
    ],
)
async def test_what_is_no_form_with_one_file_is_refused(
    tmp_path: Path, body: bytes, error: type[MeetingAssistantError]
) -> None:
    with pytest.raises(error):
        await received(body, tmp_path / "incoming")


async def test_a_client_that_goes_away_in_the_middle_leaves_no_open_file(tmp_path: Path) -> None:
    with pytest.raises(HTTPException) as refused:
        await received(file(AUDIO), tmp_path / "incoming")
    assert refused.value.status_code == 400


async def test_another_kind_of_body_is_an_empty_form(tmp_path: Path) -> None:
    form = await received(b"title=x" + END, tmp_path / "incoming", kind="application/x-www-form-urlencoded")
    assert not form.multi_items()
